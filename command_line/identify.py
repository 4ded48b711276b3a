"""`compactface identify`: identify the faces in photographs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from command_line.errors import EXIT_FAILED
from command_line.flaws import decision_words
from command_line.local_recognizer import check_local, open_recognizer
from command_line.options import (
    Collection,
    EncoderOptions,
    Json,
    LocalOptions,
    Photos,
    RecognizerOptions,
    TlsOptions,
    refuse_both,
    with_options,
)
from command_line.output import (
    as_json,
    candidate_text,
    decision_text,
    figure_text,
    show_json,
    show_table,
    threshold_text,
)
from command_line.photo_arguments import Fault, Photo, each_photo, encode_each
from command_line.photos import open_encoder

if TYPE_CHECKING:
    from compactface.v1.compact_map_pb2 import Box, CompactMap
    from compactface.v1.encoder_pb2 import EncodeResponse
    from compactface.v1.recognizer_pb2 import BatchIdentifyResponse, Candidate, IdentifyResponse


@with_options
def identify(
    photos: Photos,
    *,
    collection: Collection = "default",
    max_fpir: Annotated[
        float | None,
        typer.Option(help="FPIR: share of strangers that match any subject, in (0, 1)."),
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Similarity threshold, a cosine in [-1, 1].")
    ] = None,
    subjects: Annotated[int, typer.Option(min=1, help="Candidates per face.")] = 1,
    to_json: Json = False,
    encoder: EncoderOptions,
    recognizer: RecognizerOptions,
    local: LocalOptions,
    tls: TlsOptions,
) -> None:
    """Identify the faces in photographs.

    No subject is assigned to two faces of one photograph. The default threshold is the
    collection's. Unreadable photographs are reported and skipped; the exit code is then 1. Needs a
    recognizer service, or --local.
    """
    refuse_both("--max-fpir", max_fpir, "--min-similarity", min_similarity)
    check_local(recognizer, local, encoder, tls)
    with open_encoder(encoder, tls) as opened:
        encoded = list(encode_each(opened, each_photo(photos)))
    faults = [item for item in encoded if isinstance(item, Fault)]
    faces_of_photos = [_faces(*item) for item in encoded if not isinstance(item, Fault)]
    with open_recognizer(recognizer, local, encoder, tls, missing_gallery="fail") as client:
        ask = partial(
            client.batch_identify,
            collection=collection,
            max_fpir=max_fpir,
            min_similarity=min_similarity,
            max_subjects=subjects,
        )
        most = client.info().max_batch
        answers = [answer for faces in faces_of_photos for answer in _answers(ask, faces, most)]
    faces = list(chain.from_iterable(faces_of_photos))
    if to_json:
        documents = [_document(*pair) for pair in zip(faces, answers, strict=True)]
        show_json([*documents, *(fault.document() for fault in faults)])
    elif len(faults) < len(encoded):
        rows = [row for pair in zip(faces, answers, strict=True) for row in _rows(*pair)]
        show_table(["photo", ">face", "decision", "candidate", ">similarity", "threshold"], rows)
    if faults:
        raise typer.Exit(EXIT_FAILED)


@dataclass(frozen=True, slots=True)
class _Face:
    """A face with its photo and its 1-based index in it."""

    photo: Photo
    number: int
    box: "Box"
    compact_map: "CompactMap"


def _faces(photo: Photo, answer: "EncodeResponse") -> list[_Face]:
    if not answer.faces:
        typer.echo(f"{photo.path}: no face was found", err=True)
    return [
        _Face(photo, number, face.box, face.map)
        for number, face in enumerate(answer.faces, start=1)
    ]


def _answers(
    ask: Callable[..., "BatchIdentifyResponse"], faces: Sequence[_Face], most: int
) -> Iterator["IdentifyResponse"]:
    """Identify the faces of one photo, which are sent together.

    If they exceed the limit of a batch, a subject may match one face in each batch.
    """
    from compactface.client import RequestFailed

    for start in range(0, len(faces), most):
        maps = [face.compact_map for face in faces[start : start + most]]
        for result in ask(maps, pictures=["photo"] * len(maps)).results:
            if result.HasField("error"):
                raise RequestFailed.from_status(result.error)
            yield result.response


def _document(face: _Face, answer: "IdentifyResponse") -> dict[str, Any]:
    where = {"photo": str(face.photo.path), "face": face.number, "box": as_json(face.box)}
    return {**where, **as_json(answer)}


def _rows(face: _Face, answer: "IdentifyResponse") -> list[list[str]]:
    """One row per candidate, or one row without."""
    from compactface.v1.recognizer_pb2 import IdentifyDecision

    decision = decision_words(
        decision_text(IdentifyDecision.Name(answer.decision)), answer.probe_flaws
    )
    start = [face.photo.name, str(face.number), decision]
    rows = [
        [
            *start,
            _candidate(found),
            figure_text(found.similarity, ".3f", withheld=answer.similarities_withheld),
            f"{found.threshold:.3f}",
        ]
        for found in answer.candidates
    ] or [[*start, "", "", ""]]
    if answer.HasField("threshold"):  # for the first candidate the error rate is known, too
        rows[0][-1] = threshold_text(answer.threshold)
    return rows


def _candidate(found: "Candidate") -> str:
    return candidate_text(found) + (", assigned to another face" if found.taken else "")
