"""Options shared by several commands; each group is declared once as a dataclass.

A command takes a group as one parameter, and `with_options` expands its fields into options::

    @app.command()
    @with_options
    def identify(photos: Photos, *, recognizer: RecognizerOptions, tls: TlsOptions) -> None: ...
"""

import inspect
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from shared.model_directory.shipped import shipped_models

if TYPE_CHECKING:
    from compactface.client import RecognizerClient, Tls
    from recognizer_service.gallery.storage.locations import Location, Milvus
    from shared.storage_key import KeySource

Photos = Annotated[
    list[Path],
    typer.Argument(exists=True, metavar="PHOTO", help="Image files, or folders of them."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Largest = Annotated[
    bool,
    typer.Option(
        "--largest",
        help="If a photo shows several faces, use the most prominent: large and central.",
    ),
]
SHIPPED_MODELS = shipped_models()
TOKEN_VARIABLE = "COMPACTFACE_TOKEN"  # noqa: S105 - a name
_SHIPPED = "that of the shipped model"
Models = Annotated[Path, typer.Option(help="Folder of model families.", show_default=_SHIPPED)]
Collection = Annotated[str, typer.Option(help="Collection of the gallery.")]


GalleryKey = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        envvar="COMPACTFACE_RECOGNIZER_GALLERY_KEY",
        show_default=False,
        help="Key of an encrypted file: file:PATH, env:NAME or command:COMMAND.",
    ),
]


def key_source(text: str, name: str) -> "KeySource | None":
    """Parse an option of this name; None: it is empty."""
    from shared.storage_key import KeySource

    try:
        return KeySource.parse(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(f"{name} {error}") from None


@dataclass(frozen=True, slots=True)
class GalleryOptions:
    """Location of a gallery. Pass passwords through the environment."""

    gallery: Annotated[
        str,
        typer.Option(
            metavar="FILE|URL",
            envvar="COMPACTFACE_RECOGNIZER_GALLERY",
            help="The recognizer's database: a file, or a postgresql:// URL.",
        ),
    ] = "gallery.sqlite"
    gallery_key: GalleryKey = ""
    milvus: Annotated[
        str,
        typer.Option(
            metavar="URI",
            envvar="COMPACTFACE_RECOGNIZER_MILVUS",
            help="Address of the Milvus server, if it holds the index.",
        ),
    ] = ""
    milvus_token: Annotated[
        str,
        typer.Option(envvar="COMPACTFACE_RECOGNIZER_MILVUS_TOKEN", help="Token for Milvus."),
    ] = ""
    milvus_index: Annotated[
        str,
        typer.Option(
            metavar="FLAT|HNSW|DISKANN",
            envvar="COMPACTFACE_RECOGNIZER_MILVUS_INDEX",
            help="Type of a new Milvus index.",
        ),
    ] = "FLAT"

    @property
    def name(self) -> str:
        """Name for messages; a URL may hold a password."""
        return self.gallery if "://" not in self.gallery else "gallery"

    def location(self) -> "Location":
        """The location; a file must exist."""
        from recognizer_service.gallery.storage.locations import file_of, parse_location

        key = key_source(self.gallery_key, "--gallery-key")
        try:
            location = parse_location(self.gallery, self._milvus(), key)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        file = file_of(location)
        if file and not file.is_file():
            raise typer.BadParameter(f"File '{self.gallery}' does not exist.")
        return location

    def _milvus(self) -> "Milvus | None":
        from recognizer_service.gallery.storage.locations import (
            MILVUS_INDEX_TYPES,
            Milvus,
        )

        if self.milvus_index not in MILVUS_INDEX_TYPES:
            raise ValueError(
                f"milvus-index is {self.milvus_index!r}; it must be one of "
                f"{', '.join(MILVUS_INDEX_TYPES)}"
            )
        token = SecretStr(self.milvus_token) if self.milvus_token else None
        return Milvus(self.milvus, token, self.milvus_index) if self.milvus else None


_RECOGNIZER = "127.0.0.1:50052"
_Pem = Path | None


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Credentials and proxy for connections to the services."""

    ca: Annotated[
        _Pem,
        typer.Option(
            exists=True,
            dir_okay=False,
            rich_help_panel="TLS",
            help="PEM root certificates for the service; enables TLS.",
        ),
    ] = None
    certificate: Annotated[
        _Pem,
        typer.Option(
            exists=True,
            dir_okay=False,
            rich_help_panel="TLS",
            help="PEM certificate chain of the client, for mutual TLS.",
        ),
    ] = None
    key: Annotated[
        _Pem,
        typer.Option(
            exists=True,
            dir_okay=False,
            rich_help_panel="TLS",
            help="PEM private key for --certificate.",
        ),
    ] = None
    proxy: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="HTTP proxy to the services; proxy environment variables are ignored.",
        ),
    ] = ""

    token: Annotated[
        str,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            metavar="TOKEN",
            help="Bearer token for the services; visible to other processes on the command line.",
        ),
    ] = ""

    def load(self) -> "Tls | None":
        """Load the certificates; None: plain text. Invalid files are usage errors."""
        from compactface.client import Tls

        if (self.certificate is None) != (self.key is None):
            raise typer.BadParameter("--certificate and --key go together")
        if self.certificate is not None and self.ca is None:
            raise typer.BadParameter("--certificate needs --ca")
        if self.ca is None:
            return None
        _check_pem(self.ca, self.certificate, self.key)
        return Tls(self.ca, self.certificate, self.key)


def _check_pem(ca: Path, certificate: Path | None, key: Path | None) -> None:
    """Check the files early; gRPC would report them only as failed handshakes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError:
        raise typer.BadParameter(f"--ca {ca} holds no certificates in PEM form") from None
    if certificate is None or key is None:
        return
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise typer.BadParameter(
            f"--certificate {certificate} and --key {key} cannot be used together "
            f"({error.reason or error}); both must be PEM, the key of that certificate and "
            "without a password"
        ) from None


@dataclass(frozen=True, slots=True)
class RecognizerOptions:
    """Address of the recognizer."""

    recognizer: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The recognizer service.", show_default=_RECOGNIZER),
    ] = None

    def connect(self, tls: TlsOptions) -> "RecognizerClient":
        """Open a client, to be closed by the caller."""
        from compactface.client import RecognizerClient

        return RecognizerClient(
            self.recognizer or _RECOGNIZER, tls=tls.load(), token=tls.token, proxy=tls.proxy
        )


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """The encoder: a service, or this process."""

    encoder: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Encoder service; default: encode in this process."),
    ] = None
    models: Annotated[
        Path,
        typer.Option(help="Folder of model families, without --encoder.", show_default=_SHIPPED),
    ] = SHIPPED_MODELS
    family: Annotated[str, typer.Option(help="Model family in that folder.")] = "default"


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Whether to run without services."""

    local: Annotated[
        bool,
        typer.Option(
            "--local",
            rich_help_panel="Without services",
            help="Run the recognizer in this process, too.",
        ),
    ] = False
    gallery: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            rich_help_panel="Without services",
            help="With --local: the gallery; no recognizer may be serving it.",
            show_default="that of `serve recognizer`",
        ),
    ] = None
    gallery_key: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            rich_help_panel="Without services",
            help="With --local: key of an encrypted gallery: file:PATH, env:NAME or "
            "command:COMMAND.",
            show_default="that of `serve recognizer`",
        ),
    ] = None


def refuse_both(name: str, value: object, other_name: str, other: object) -> None:
    """Reject two mutually exclusive options as a usage error."""
    if value is not None and other is not None:
        raise typer.BadParameter(f"{name} and {other_name} exclude each other")


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Expand each parameter of `command` annotated with a dataclass into its fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    parameters = [
        expanded
        for parameter in inspect.signature(command).parameters.values()
        for expanded in _expand(parameter, hints[parameter.name])
    ]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return declare(run, parameters)


def declare(
    command: Callable[..., None], parameters: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """Show Typer `parameters` in place of `**values` of `command`."""
    vars(command)["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    return command


def option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A parameter for `declare`."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def setting_flags(
    cls: type[BaseModel], *, panel: str, variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[inspect.Parameter]:
    """One option for each setting; None means that the flag was not given.

    Args:
        cls: the settings.
        panel: heading in the help.
        variables: environment variables by setting, read if the flag is not given.
    """
    for name, field in cls.model_fields.items():
        flag = typer.Option(
            envvar=variables.get(name),
            help=" ".join([field.description or "", _default(field.default)]),
            rich_help_panel=panel,
        )
        yield option(name, Annotated[_optional(field.annotation), flag], None)


def _default(value: Any) -> str:
    says_nothing = value in {None, "", PydanticUndefined} or isinstance(value, bool)
    return "" if says_nothing else f"[dim](default {value})[/dim]"


def _optional(annotation: Any) -> Any:
    return annotation | None


def _expand(parameter: inspect.Parameter, hint: Any) -> Iterator[inspect.Parameter]:
    if not is_dataclass(hint):
        kind = inspect.Parameter.KEYWORD_ONLY
        yield parameter.replace(kind=kind, annotation=hint)
        return
    hints = get_type_hints(hint, include_extras=True)
    for field in fields(hint):
        yield option(field.name, hints[field.name], field.default)
