"""`compactface protocol`: export the protocol for tools and clients without Python stubs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor


def protocol(
    file: Annotated[
        Path, typer.Argument(dir_okay=False, metavar="FILE", help="E.g. compactface.binpb.")
    ],
) -> None:
    """Write the protocol as a self-contained descriptor set.

    It holds compactface.v1 with all imports, and google.rpc's error details. Node's proto-loader,
    `grpcurl -protoset` and buf can read it.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.rpc import error_details_pb2

    from compactface.v1 import alerts_pb2, encoder_pb2, gallery_pb2, recognizer_pb2

    written: dict[str, FileDescriptor] = {}
    for module in (encoder_pb2, recognizer_pb2, gallery_pb2, alerts_pb2, error_details_pb2):
        for each in _with_imports(module.DESCRIPTOR):
            written.setdefault(each.name, each)
    descriptors = FileDescriptorSet()
    for descriptor in written.values():
        descriptor.CopyToProto(descriptors.file.add())
    file.write_bytes(descriptors.SerializeToString(deterministic=True))
    typer.echo(f"wrote {len(written)} files of the protocol to {file}")


def _with_imports(file: "FileDescriptor") -> Iterator["FileDescriptor"]:
    """A file after all its imports, the order that descriptor sets require."""
    for imported in file.dependencies:
        yield from _with_imports(imported)
    yield file
