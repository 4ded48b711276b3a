"""The reference of the protocol, made from the protos and their comments."""

import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from compactface.v1 import authorization_pb2
from manual.pages import ROOT
from web_gateway.transcoding import MAPPED

_PACKAGE = ".compactface.v1."
_PROTOS = ROOT / "protos"
_REST = {mapped.method: f"{mapped.verb} {mapped.path}" for mapped in MAPPED}
_Place = tuple[int, ...]


@dataclass(frozen=True)
class _Numbers:
    """Field numbers of descriptor.proto, of which the places of comments consist."""

    file_message: int = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
    file_enum: int = FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER
    file_service: int = FileDescriptorProto.SERVICE_FIELD_NUMBER
    file_package: int = FileDescriptorProto.PACKAGE_FIELD_NUMBER
    file_syntax: int = FileDescriptorProto.SYNTAX_FIELD_NUMBER
    service_method: int = 2
    message_field: int = DescriptorProto.FIELD_FIELD_NUMBER
    message_enum: int = DescriptorProto.ENUM_TYPE_FIELD_NUMBER
    message_message: int = DescriptorProto.NESTED_TYPE_FIELD_NUMBER
    enum_value: int = EnumDescriptorProto.VALUE_FIELD_NUMBER


_N = _Numbers()


def pages() -> dict[str, str]:
    """The pages as Markdown, by path on the site: one for each file, and an index.

    Raises:
        subprocess.CalledProcessError: the protos do not compile.
    """
    files = _files()
    where = {name: Path(file.name).stem for file in files for name in _type_names(file, _PACKAGE)}
    made = {f"protocol/{Path(file.name).stem}.md": _File(file, where).page() for file in files}
    return made | {"protocol/index.md": _index(files)}


def _files() -> list[FileDescriptorProto]:
    """The files of the protocol, with their comments."""
    names = sorted(path.relative_to(_PROTOS).as_posix() for path in _PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "protocol.binpb")
        imports = ("-I", _PROTOS, "-I", sysconfig.get_path("purelib"))
        subprocess.run(  # noqa: S603 - our own words
            [
                *(sys.executable, "-m", "grpc_tools.protoc", *imports),
                *("--include_source_info", f"--descriptor_set_out={out}", *names),
            ],
            check=True,
        )
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def _type_names(of: FileDescriptorProto | DescriptorProto, prefix: str) -> Iterator[str]:
    messages = of.message_type if isinstance(of, FileDescriptorProto) else of.nested_type
    for message in messages:
        yield prefix + message.name
        yield from _type_names(message, f"{prefix}{message.name}.")
    for enum in of.enum_type:
        yield prefix + enum.name


def _index(files: Iterable[FileDescriptorProto]) -> str:
    lines = [
        "# Protocol\n",
        "The protocol `compactface.v1`, from the comments of `protos/compactface/v1`. It only",
        "grows: fields and methods are added, never changed or removed. `compactface protocol",
        "FILE` writes it as a descriptor set.\n",
    ]
    for file in files:
        page = f"{Path(file.name).stem}.md"
        comments = _comments(file)
        lines += [f"## [{Path(file.name).name}]({page})", "", _about(file), ""]
        for at, service in enumerate(file.service):
            lines += [f"| {service.name} | |", "|---|---|"]
            for place, method in enumerate(service.method):
                comment = comments.get((_N.file_service, at, _N.service_method, place), "")
                first = _cell(comment).split(". ")[0].split(": Errors")[0].rstrip(".")
                lines.append(f"| [{method.name}]({page}#{service.name}.{method.name}) | {first} |")
            lines.append("")
    return "\n".join(lines)


def _comments(file: FileDescriptorProto) -> dict[_Place, str]:
    """The comments before declarations, by their places."""
    return {
        tuple(location.path): location.leading_comments
        for location in file.source_code_info.location
        if location.leading_comments
    }


def _about(file: FileDescriptorProto) -> str:
    """The comment on the whole file, before or right after its syntax."""
    return _prose(
        next(
            comment
            for location in file.source_code_info.location
            if tuple(location.path) in {(_N.file_syntax,), (_N.file_package,)}
            for comment in (*location.leading_detached_comments, location.leading_comments)
            if comment
        )
    )


class _File:
    """Writes the page of one file.

    Args:
        file: the file, with comments.
        where: name of the page of every type, by the type's full name.
    """

    def __init__(self, file: FileDescriptorProto, where: dict[str, str]) -> None:
        self._file, self._where = file, where
        self._page = Path(file.name).stem
        self._comments = _comments(file)

    def page(self) -> str:
        """The page as Markdown."""
        lines = [f"# {Path(self._file.name).name}\n", f"{_about(self._file)}\n"]
        for at, service in enumerate(self._file.service):
            place = (_N.file_service, at)
            lines += [f"## {service.name}\n", self._comment(place)]
            for number, method in enumerate(service.method):
                lines += self._method(service.name, method, (*place, _N.service_method, number))
        for at, message in enumerate(self._file.message_type):
            lines += self._message(message, message.name, (_N.file_message, at))
        for at, enum in enumerate(self._file.enum_type):
            lines += self._enum(enum, enum.name, (_N.file_enum, at))
        return "\n".join(lines)

    def _comment(self, place: _Place) -> str:
        return f"{_prose(self._comments.get(place, ''))}\n"

    def _method(self, service: str, method: MethodDescriptorProto, place: _Place) -> Iterator[str]:
        yield f"### {method.name} {{ #{service}.{method.name} }}\n"
        takes = ("stream of " if method.client_streaming else "") + self._type(method.input_type)
        gives = ("stream of " if method.server_streaming else "") + self._type(method.output_type)
        yield f"{takes} → {gives}\n"
        options: Any = method.options  # the types of stubs do not know extensions
        words = [f"Scope: {_scope(options.Extensions[authorization_pb2.scope])}"]
        if method.name in _REST:
            words.append(f"REST: `{_REST[method.name]}`")
        yield " · ".join(words) + "\n"
        yield self._comment(place)

    def _message(self, message: DescriptorProto, name: str, place: _Place) -> Iterator[str]:
        yield f"## {name} {{ #{name} }}\n"
        yield self._comment(place)
        if message.field:
            yield "| field | type | |\n|---|---|---|"
            for at, field in enumerate(message.field):
                yield self._field(message, field, (*place, _N.message_field, at))
            yield ""
        for at, inner in enumerate(message.nested_type):
            if not inner.options.map_entry:
                yield from self._message(
                    inner, f"{name}.{inner.name}", (*place, _N.message_message, at)
                )
        for at, enum in enumerate(message.enum_type):
            yield from self._enum(enum, f"{name}.{enum.name}", (*place, _N.message_enum, at))

    def _field(self, message: DescriptorProto, field: FieldDescriptorProto, place: _Place) -> str:
        words = [_cell(self._comments.get(place, ""))]
        if field.HasField("oneof_index") and not field.proto3_optional:
            words.insert(0, f"One of `{message.oneof_decl[field.oneof_index].name}`.")
        options: Any = field.options
        if scope := options.Extensions[authorization_pb2.field_scope]:
            words.append(f"Needs the scope {_scope(scope)}.")
        return f"| `{field.name}` | {self._field_type(message, field)} | {' '.join(words)} |"

    def _field_type(self, message: DescriptorProto, field: FieldDescriptorProto) -> str:
        for entry in message.nested_type:
            if entry.options.map_entry and field.type_name.endswith(f".{entry.name}"):
                key, value = entry.field
                return f"map of {self._one(key)} to {self._one(value)}"
        repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        return ("repeated " if repeated else "optional " if field.proto3_optional else "") + (
            self._one(field)
        )

    def _one(self, field: FieldDescriptorProto) -> str:
        if field.type_name:
            return self._type(field.type_name)
        return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()

    def _type(self, name: str) -> str:
        """A link to a type of the protocol; the name of another's."""
        if name not in self._where:
            return name.removeprefix(".")
        short = name.removeprefix(_PACKAGE)
        page = "" if self._where[name] == self._page else f"{self._where[name]}.md"
        return f"[{short}]({page}#{short})"

    def _enum(self, enum: EnumDescriptorProto, name: str, place: _Place) -> Iterator[str]:
        yield f"## {name} {{ #{name} }}\n"
        yield self._comment(place)
        yield "| value | number | |\n|---|---|---|"
        for at, value in enumerate(enum.value):
            comment = _cell(self._comments.get((*place, _N.enum_value, at), ""))
            yield f"| `{value.name}` | {value.number} | {comment} |"
        yield ""


def _scope(number: int) -> str:
    name = authorization_pb2.Scope.Name(number)
    return f"`{name.removeprefix('SCOPE_').lower()}`"


def _prose(comment: str) -> str:
    """A comment as Markdown; a list gets the empty line before it that Markdown needs."""
    text = re.sub(r"^ ", "", comment, flags=re.MULTILINE).strip()
    text = text.replace("<", "&lt;").replace("*", r"\*")
    return re.sub(r"(?m)^(?!- |  )(.+)\n(?=- )", r"\1\n\n", text)


def _cell(comment: str) -> str:
    """A comment in one cell of a table."""
    return _prose(" ".join(comment.split())).replace("|", r"\|")
