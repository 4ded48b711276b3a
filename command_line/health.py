"""`compactface health`: does a service take requests? What container engines ask it with."""

from typing import Annotated

import typer

from command_line.errors import EXIT_FAILED
from command_line.options import TlsOptions, with_options


@with_options
def health(
    *,
    target: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The service to ask.")
    ] = "localhost:50051",
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait.")] = 5.0,
    tls: TlsOptions,
) -> None:
    """Ask a service for its health, and end with 0 only if it is SERVING."""
    state = _ask(target, timeout, tls)
    typer.echo(f"{target}: {state}")
    if state != "SERVING":
        raise typer.Exit(EXIT_FAILED)


def _ask(target: str, timeout: float, tls: TlsOptions) -> str:
    """The name of its grpc.health.v1 status, or of the gRPC code that came in place of one."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from compactface.client import RequestFailed
    from compactface.client.channel import open_channel

    with open_channel(target, tls=tls.load(), proxy=tls.proxy) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            return RequestFailed.from_call(error).code
    state: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return state
