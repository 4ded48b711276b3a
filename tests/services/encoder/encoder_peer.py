# ruff: noqa: N802 - names are the protocol's
"""An encoder that does what a test tells it to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from compactface.v1 import encoder_pb2, encoder_pb2_grpc


class Peer(encoder_pb2_grpc.EncoderServiceServicer):
    """Takes every face, unless its script says otherwise for the next ones.

    Attributes:
        received: requests that were accepted, in order.
        script: codes to refuse the next faces with.
        uplink: whether it claims to have one.
        outcome: what it says of every face.
        faceless: how many of the next answers lack the face.
        authorizations: what callers showed, "" for nothing; a call each.
    """

    def __init__(self, *, uplink: bool = True) -> None:
        self.received: list[encoder_pb2.EncodeRequest] = []
        self.script: list[grpc.StatusCode] = []
        self.uplink = uplink
        self.outcome = encoder_pb2.FORWARD_OUTCOME_SPOOLED
        self.faceless = 0
        self.authorizations: list[str] = []

    def Encode(
        self, request: encoder_pb2.EncodeRequest, context: grpc.ServicerContext
    ) -> encoder_pb2.EncodeResponse:
        """Take a face by the script."""
        shown = dict(context.invocation_metadata())
        self.authorizations.append(shown.get("authorization", ""))
        if self.script:
            context.abort(self.script.pop(0), "refused by the script")
        if self.faceless:
            self.faceless -= 1
            return encoder_pb2.EncodeResponse()
        self.received.append(request)
        number = len(self.received)
        face = encoder_pb2.Face(sighting_id=f"sighting-{number}", forward_outcome=self.outcome)
        return encoder_pb2.EncodeResponse(faces=[face])

    def GetEncoderInfo(
        self, request: encoder_pb2.GetEncoderInfoRequest, context: grpc.ServicerContext
    ) -> encoder_pb2.GetEncoderInfoResponse:
        """Describe the uplink."""
        del request, context
        return encoder_pb2.GetEncoderInfoResponse(uplink_enabled=self.uplink)


@contextmanager
def serving(peer: Peer, port: int = 0) -> Iterator[str]:
    """The address at which it answers."""
    server = grpc.server(ThreadPoolExecutor(4))
    add: Any = encoder_pb2_grpc.add_EncoderServiceServicer_to_server
    add(peer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        server.stop(0).wait()
