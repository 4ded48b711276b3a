"""Container probe: whether a process of compactface serves.

    python -I -S healthcheck.py http://localhost:9464/healthy

`compactface health` asks the gRPC health service and says what is wrong, at half a second of CPU
time. This asks the metrics endpoint with the standard library alone, for a tenth of that. It runs
in the container that it asks, so certificates are not verified.
"""

import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

_TIMEOUT_S = 5


def main(url: str) -> int:
    """Return the exit status: 0 if it serves."""
    scheme, _, rest = url.partition("://")
    address, _, path = rest.partition("/")
    connection = (
        _secure(address) if scheme == "https" else HTTPConnection(address, timeout=_TIMEOUT_S)
    )
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        words = answer.read(100).decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"{url}: {error}\n")
        return 1
    sys.stdout.write(f"{answer.status} {words}\n")
    return 0 if answer.status == HTTPStatus.OK else 1


def _secure(address: str) -> HTTPConnection:
    import ssl  # noqa: PLC0415 - half of the cost, and often not needed
    from http.client import HTTPSConnection  # noqa: PLC0415

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection(address, timeout=_TIMEOUT_S, context=context)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
