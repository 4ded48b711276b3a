"""`compactface health`: check whether a service accepts requests, e.g. as a container probe."""

from typing import TYPE_CHECKING, Annotated

import typer

from command_line.errors import EXIT_FAILED
from command_line.options import TlsOptions, with_options

if TYPE_CHECKING:
    from compactface.client import Peer


@with_options
def health(
    *,
    target: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address of the service.")
    ] = "localhost:50051",
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait.")] = 5.0,
    tls: TlsOptions,
) -> None:
    """Query a service's health; exits with 0 only if it is SERVING."""
    from command_line.diagnosis import diagnose
    from compactface.client import Peer, RequestFailed

    try:
        state = _ask(Peer("service", target, tls.load(), tls.proxy), timeout)
    except RequestFailed as failure:
        state = failure.code
        if words := diagnose(failure):
            typer.echo(words, err=True)
    typer.echo(f"{target}: {state}")
    if state != "SERVING":
        raise typer.Exit(EXIT_FAILED)


def _ask(peer: "Peer", timeout: float) -> str:
    """The name of its grpc.health.v1 status.

    Raises:
        RequestFailed: the service cannot be reached.
    """
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from compactface.client import RequestFailed
    from compactface.client.channel import open_channel

    with open_channel(peer.target, tls=peer.tls, proxy=peer.proxy) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise RequestFailed.from_call(error, peer) from None
    state: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return state
