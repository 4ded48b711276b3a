"""`compactface encode`: photographs in, compact maps out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.options import EncoderOptions, Json, Photos, TlsOptions, with_options
from command_line.output import as_json, box_text, show_json, show_table
from command_line.photos import encode_photo, open_encoder
from shared.private_files import private_file

if TYPE_CHECKING:
    from compactface.v1.encoder_pb2 import Face

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", file_okay=False, help="Write each map and its facts here."),
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
    """Turn the faces in photographs into compact maps.

    With --output each face becomes PHOTO.N.png, the map, and PHOTO.N.json, its codec id,
    quality, box and landmarks.
    """
    with open_encoder(encoder, tls) as opened:
        answers = [(photo, encode_photo(opened, photo)) for photo in photos]
    if output is not None:
        for photo, answer in answers:
            for number, face in enumerate(answer.faces, start=1):
                _write(face, output / f"{photo.name}.{number}.png")
    if to_json:
        show_json([{"photo": str(photo), **as_json(answer)} for photo, answer in answers])
        return
    rows = [row for photo, answer in answers for row in _rows(photo, list(answer.faces))]
    show_table(["photo", ">face", "box", ">quality", ">bytes"], rows)


def _rows(photo: Path, faces: "list[Face]") -> list[list[str]]:
    if not faces:
        return [[photo.name, "", "no face found", "", ""]]
    return [
        [photo.name, str(number), box_text(face.box), f"{face.quality:.2f}", str(face.size_bytes)]
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
