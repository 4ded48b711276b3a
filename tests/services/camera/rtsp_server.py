"""A camera on the network: GStreamer's RTSP server plays a film in real time to whoever comes.

    /usr/bin/python3 tests/services/camera/rtsp_server.py FILM.mkv PORT

A program of its own, since GStreamer's bindings belong to the system's Python. The film is
H.264 in Matroska; every reader sees it from its start.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def main(film: str, port: str) -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( filesrc location={film} ! matroskademux ! rtph264pay name=pay0 pt=96 "
        "config-interval=1 )"
    )
    server.get_mount_points().add_factory("/camera", factory)
    if not server.attach(None):
        sys.exit("the port is taken")
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
