# ruff: noqa: T201 - it is a program
"""As much of grpcurl as examples/grpcurl.md uses, for machines that have none.

What it knows of a service it learns as grpcurl does: by reflection, or from a descriptor set.
"""

import argparse
import sys
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-protoset", type=Path)
    parser.add_argument("-d", dest="data", default="{}")
    parser.add_argument("address")
    parser.add_argument("verb_or_method")
    parser.add_argument("symbol", nargs="?")
    asked = parser.parse_args()
    with grpc.insecure_channel(asked.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = _read(asked.protoset) if asked.protoset else DescriptorPool(database)
        if asked.verb_or_method == "list" and asked.symbol:
            for method in pool.FindServiceByName(asked.symbol).methods:
                print(method.full_name)
        elif asked.verb_or_method == "list":
            print(*sorted(database.get_services()), sep="\n")
        elif asked.verb_or_method == "describe":
            print(*pool.FindMessageTypeByName(asked.symbol).fields_by_name, sep="\n")
        else:
            data = sys.stdin.read() if asked.data == "@" else asked.data
            _call(channel, pool, asked.verb_or_method, data)


def _read(path: Path) -> DescriptorPool:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(path.read_bytes()).file:
        pool.Add(file)
    return pool


def _call(channel: grpc.Channel, pool: DescriptorPool, name: str, data: str) -> None:
    service, _, method_name = name.partition("/")
    method = pool.FindServiceByName(service).methods_by_name[method_name]
    request = json_format.Parse(data, GetMessageClass(method.input_type)())
    call = channel.unary_unary(
        f"/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    try:
        print(json_format.MessageToJson(call(request, timeout=30)))
    except grpc.RpcError as error:
        words = "".join(word.title() for word in error.code().name.split("_"))
        print(f"ERROR:\n  Code: {words}\n  Message: {error.details()}", file=sys.stderr)
        sys.exit(64 + error.code().value[0])


main()
