"""`compactface gallery calibrate` and `audit-quality`: what thresholds and faces here are worth.

Both read the collection as `export` would write it, and need the caller's right to export.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.flaws import flaw_words
from command_line.options import (
    SHIPPED_MODELS,
    Collection,
    Json,
    Models,
    RecognizerOptions,
    TlsOptions,
    with_options,
)
from command_line.output import show_json, show_table
from shared.errors import FailedPrecondition
from shared.private_files import private_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compactface.client import RecognizerClient
    from recognizer_service.core.types import FaceMap
    from shared.inference.quality_head import Judged
    from shared.model_directory import ModelDirectory

Family = Annotated[str, typer.Option(help="Model family that the gallery is served with.")]
_RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_SUPPORTING = 10
"""Pairs of strangers that a rate needs: with fewer nothing is said about it."""
_COLUMNS, _SHOWN = 10, 200


@dataclass(frozen=True, slots=True)
class _Enrolled:
    """One enrolled face: whose, its map as it is judged, and its embedding."""

    subject_id: str
    face_id: str
    face: "FaceMap"
    embedding: "NDArray[np.float32]"


@with_options
def calibrate(
    *,
    collection: Collection = "default",
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    faces: Annotated[int, typer.Option(min=2, help="Faces to compare at most, drawn.")] = 2000,
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Measure the false match rates that thresholds have among the people enrolled here.

    They are strangers to each other, unless somebody is enrolled twice: look for that first. The
    similarity that would hold the rate here goes into --min-similarity.
    """
    model = _load(models, family)
    with recognizer.connect(tls) as client:
        enrolled = list(_enrolled(client, collection, model))
    rows = _rates(model, _drawn(enrolled, faces))
    if to_json:
        show_json(rows)
        return
    show_table(
        (">FMR asked", ">measured", ">95 %", ">pairs of strangers", ">similarity that would hold"),
        [
            [
                f"{row['fmr_asked']:.0e}",
                f"{row['fmr_measured']:.1e}",
                f"{row['low']:.1e} to {row['high']:.1e}",
                f"{row['pairs']:,}",
                f"{row['similarity']:.3f}",
            ]
            for row in rows
        ],
    )


@with_options
def audit_quality(
    *,
    collection: Collection = "default",
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    min_quality: Annotated[
        float, typer.Option(min=0, max=1, help="List faces of a quality below.")
    ] = 0.15,
    sheet: Annotated[
        Path | None, typer.Option(dir_okay=False, help="PNG file to draw them into.")
    ] = None,
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """List enrolled faces of poor quality, or with something wrong, the worst first."""
    model = _load(models, family)
    with recognizer.connect(tls) as client:
        judged = [each for each in _enrolled(client, collection, model) if each.face.judged]
    worst = sorted(
        (each for each in judged if (each.face.quality or 0) < min_quality or _words(each)),
        key=lambda each: each.face.quality or 0,
    )
    if sheet and worst:
        _draw(model, worst[:_SHOWN], sheet)
    if to_json:
        show_json(
            [
                {
                    "subject_id": each.subject_id,
                    "face_id": each.face_id,
                    "quality": each.face.quality,
                    "wrong": _words(each),
                }
                for each in worst
            ]
        )
        return
    show_table(
        ("subject", "face", ">quality", "what is wrong"),
        [
            [each.subject_id, each.face_id, f"{each.face.quality:.2f}", ", ".join(_words(each))]
            for each in worst
        ],
        title=f"{len(worst)} of {len(judged)} faces",
    )


def _load(models: Path, family: str) -> "ModelDirectory":
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family)
    if not model.manifest.quality:
        raise FailedPrecondition(
            "NO_QUALITY_HEAD", f"{model.path} has no quality head; see `compactface train quality`"
        )
    return model


def _enrolled(
    client: "RecognizerClient", collection: str, model: "ModelDirectory"
) -> Iterator[_Enrolled]:
    """Every face whose codec the model knows.

    Raises:
        FailedPrecondition: EMBEDDING_SPACE_MISMATCH; the gallery is served by another model.
    """
    from recognizer_service.core.quality import MapJudge
    from recognizer_service.core.types import FaceMap
    from recognizer_service.gallery.archive.contents import parse_face, parse_header, parse_subject
    from recognizer_service.gallery.archive.format import Kind, RecordReader
    from shared.codec.compact_map import unpack

    judge = MapJudge(model)
    formats = {codec.codec_id: codec.map_format for codec in model.manifest.codecs.values()}
    reader, size, subject_id = RecordReader(), 0, ""
    for chunk in client.collections.export(collection):
        for record in reader.feed(chunk):
            if record.kind is Kind.HEADER:
                header = parse_header(record)
                size = header.embedding_size
                if header.embedding_space != model.manifest.embedding_space:
                    raise FailedPrecondition(
                        "EMBEDDING_SPACE_MISMATCH",
                        f"the gallery is in space {header.embedding_space}, {model.path} in "
                        f"{model.manifest.embedding_space}; name the model that serves it",
                    )
            elif record.kind is Kind.SUBJECT:
                subject_id = parse_subject(record).values["id"]
            else:
                found = parse_face(record, size)
                codec_id, png = found.values["codec_id"], found.values["png"]
                if codec_id in formats:
                    face = FaceMap(codec_id, png)
                    face = judge.judged(face, unpack(png, formats[codec_id]))
                    yield _Enrolled(subject_id, found.values["id"], face, found.embedding)
    reader.finish()


def _drawn(enrolled: Sequence[_Enrolled], count: int) -> list[_Enrolled]:
    import numpy as np

    order = np.random.default_rng(0).permutation(len(enrolled))[:count]
    return [enrolled[at] for at in order]


def _rates(model: "ModelDirectory", enrolled: Sequence[_Enrolled]) -> list[dict[str, float]]:
    """A row for each rate that the pairs support.

    Raises:
        FailedPrecondition: TOO_FEW_STRANGERS; they support none.
    """
    import numpy as np

    from shared.evaluation.bootstrap import rate_interval

    vectors = np.stack([each.embedding for each in enrolled]) if enrolled else np.empty((0, 1))
    _, people = np.unique([each.subject_id for each in enrolled], return_inverse=True)
    strangers = np.triu(people[:, None] != people[None], 1)
    pairs = int(strangers.sum())
    if _RATES[0] * pairs < _SUPPORTING:
        raise FailedPrecondition(
            "TOO_FEW_STRANGERS",
            f"{pairs} pairs of strangers are enrolled; at least {_SUPPORTING / _RATES[0]:.0f} are "
            "needed to say anything",
        )
    similarities = vectors @ vectors.T
    allowed, known = _allowances([each.face.judged for each in enrolled])
    codecs = np.array([each.face.codec_id for each in enrolled])
    rows = []
    for rate in (rate for rate in _RATES if rate * pairs >= _SUPPORTING):
        asked = np.empty_like(similarities)
        for one in np.unique(codecs):
            for other in np.unique(codecs):
                pair, where = (str(one), str(other)), np.ix_(codecs == one, codecs == other)
                bare = model.manifest.calibration_for(*pair).threshold(rate).similarity
                less = model.manifest.calibration_less_allowance(*pair).threshold(rate).similarity
                asked[where] = np.where(known[where], less, bare)
        matches = (similarities - allowed >= asked) & strangers
        low, high = rate_interval(matches, strangers, people)
        rows.append(
            {
                "fmr_asked": rate,
                "fmr_measured": float(matches.sum() / pairs),
                "low": low,
                "high": high,
                "pairs": pairs,
                "similarity": float(np.quantile(similarities[strangers], 1 - rate)),
            }
        )
    return rows


def _allowances(
    judged: Sequence["Judged | None"],
) -> "tuple[NDArray[np.float32], NDArray[np.bool_]]":
    """(N, N) allowances, and whether heads of the same parts judged both; else they are 0."""
    import numpy as np

    allowed = np.zeros((len(judged), len(judged)), np.float32)
    known = np.zeros_like(allowed, bool)
    kinds = {each.names for each in judged if each}
    for names in kinds:
        rows = [at for at, each in enumerate(judged) if each and each.names == names]
        of_kind = [each for each in judged if each and each.names == names]
        traits = np.concatenate([each.traits for each in of_kind])
        spread = np.max([each.spread for each in of_kind], axis=0)
        resembling = max(each.resembling for each in of_kind)
        allowed[np.ix_(rows, rows)] = (traits * spread) @ traits.T + resembling
        known[np.ix_(rows, rows)] = True
    return allowed, known


def _words(each: _Enrolled) -> list[str]:
    from compactface.v1.compact_map_pb2 import Flaws
    from recognizer_service.core.quality import flaws

    known = Flaws.DESCRIPTOR.fields_by_name
    return flaw_words(Flaws(**{n: sure for n, sure in flaws(each.face).items() if n in known}))


def _draw(model: "ModelDirectory", worst: Sequence[_Enrolled], path: Path) -> None:
    """What the maps show, ten in a row, with quality and subject, in a private file."""
    from PIL import Image, ImageDraw

    from shared.inference.map_decoder import MapDecoder

    decoder = MapDecoder(model)
    maps = [
        (each.face.codec_id, decoder.unpack(each.face.codec_id, each.face.png)) for each in worst
    ]
    pictures = decoder.reconstruct(maps)
    width, height = pictures.shape[2] + 8, pictures.shape[1] + 40
    rows = -(-len(worst) // _COLUMNS)
    drawn = Image.new("RGB", (_COLUMNS * width, rows * height), "#f4f3ef")
    pen = ImageDraw.Draw(drawn)
    for number, (each, picture) in enumerate(zip(worst, pictures, strict=True)):
        left, top = number % _COLUMNS * width + 4, number // _COLUMNS * height + 4
        drawn.paste(Image.fromarray(picture), (left, top))
        under = top + pictures.shape[1] + 2
        pen.text((left, under), f"{each.face.quality:.2f} {each.subject_id[:9]}", "#1f2328")
        pen.text((left, under + 14), ", ".join(_words(each))[:16], "#6b7280")
    content = io.BytesIO()
    drawn.save(content, "PNG")
    with private_file(path) as file:
        file.write(content.getvalue())
