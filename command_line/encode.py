"""`compactface encode`: encode photographs as compact maps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from command_line.errors import EXIT_FAILED
from command_line.flaws import face_words
from command_line.options import EncoderOptions, Json, Photos, TlsOptions, with_options
from command_line.output import as_json, box_text, show_json, show_table
from command_line.photo_arguments import Fault, Photo, each_photo, encode_each
from command_line.photos import open_encoder
from shared.private_files import private_file

if TYPE_CHECKING:
    from compactface.v1.encoder_pb2 import EncodeResponse, Face

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", file_okay=False, help="Folder for maps and metadata."),
]


@with_options
def encode(
    photos: Photos,
    *,
    output: Output = None,
    to_json: Json = False,
    encoder: EncoderOptions,
    tls: TlsOptions,
) -> None:
    """Encode the faces in photographs as compact maps.

    With --output each face becomes PHOTO.N.png, the map, and PHOTO.N.json with its codec id,
    quality, box and landmarks. Unreadable photographs are reported and skipped; the exit code is
    then 1. Needs no service.
    """
    asked = each_photo(photos)
    if output is not None:
        _refuse_same_names(asked)
    with open_encoder(encoder, tls) as opened:
        encoded = list(encode_each(opened, asked))
    answers = [item for item in encoded if not isinstance(item, Fault)]
    if output is not None:
        for photo, answer in answers:
            for number, face in enumerate(answer.faces, start=1):
                _write(face, output / f"{photo.name}.{number}.png")
    if to_json:
        show_json([_document(item) for item in encoded])
    elif answers:
        rows = [row for photo, answer in answers for row in _rows(photo, list(answer.faces))]
        show_table(["photo", ">face", "box", ">quality", "what is wrong", ">bytes"], rows)
    if len(answers) < len(encoded):
        raise typer.Exit(EXIT_FAILED)


def _refuse_same_names(photos: list[Photo]) -> None:
    """Reject photographs whose maps would overwrite each other."""
    path_of: dict[str, Path] = {}
    for photo in photos:
        other = path_of.setdefault(photo.name, photo.path)
        if other != photo.path:
            raise typer.BadParameter(
                f"{other} and {photo.path} have the same name; use --output with one at a time"
            )


def _document(item: "tuple[Photo, EncodeResponse] | Fault") -> Mapping[str, Any]:
    if isinstance(item, Fault):
        return item.document()
    photo, answer = item
    return {"photo": str(photo.path), **as_json(answer)}


def _rows(photo: Photo, faces: "list[Face]") -> list[list[str]]:
    if not faces:
        return [[photo.name, "", "no face found", "", "", ""]]
    return [
        [
            photo.name,
            str(number),
            box_text(face.box),
            f"{face.quality:.2f}",
            face_words(face),
            str(face.size_bytes),
        ]
        for number, face in enumerate(faces, start=1)
    ]


def _write(face: "Face", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with private_file(path) as file:
        file.write(face.map.png)
    facts = {**as_json(face), "codec_id": face.map.codec_id}
    for name in ("map", "crop_png", "sighting_id"):
        del facts[name]
    with private_file(path.with_suffix(".json")) as file:
        file.write((json.dumps(facts, indent=2) + "\n").encode())
