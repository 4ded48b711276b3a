"""`compactface verify`: decide whether two photographs show the same person."""

from pathlib import Path
from typing import Annotated

import typer

from command_line.flaws import decision_words
from command_line.local_recognizer import MissingGallery, check_local, open_recognizer
from command_line.options import (
    Collection,
    EncoderOptions,
    Json,
    Largest,
    LocalOptions,
    RecognizerOptions,
    TlsOptions,
    refuse_both,
    with_options,
)
from command_line.output import (
    as_json,
    decision_text,
    figure_text,
    show_json,
    show_table,
    threshold_text,
)
from command_line.photos import TakenFace, open_encoder, take_one_face, tell_of_others


@with_options
def verify(
    photo: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, metavar="PHOTO", help="The probe.")
    ],
    reference: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, metavar="REFERENCE", help="Another photo to compare with."
        ),
    ] = None,
    *,
    subject: Annotated[
        str | None, typer.Option(help="Compare with this enrolled subject instead.")
    ] = None,
    collection: Collection = "default",
    max_fmr: Annotated[
        float | None,
        typer.Option(help="FMR: share of impostor pairs that match, in (0, 1)."),
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Similarity threshold, a cosine in [-1, 1].")
    ] = None,
    largest: Largest = False,
    to_json: Json = False,
    encoder: EncoderOptions,
    recognizer: RecognizerOptions,
    local: LocalOptions,
    tls: TlsOptions,
) -> None:
    """Compare a photograph with another one, or with a subject.

    The default threshold is the collection's. Needs a recognizer service, or --local.
    """
    from compactface.v1.recognizer_pb2 import VerifyDecision

    refuse_both("REFERENCE", reference, "--subject", subject)
    refuse_both("--max-fmr", max_fmr, "--min-similarity", min_similarity)
    if reference is None and subject is None:
        raise typer.BadParameter("give a second photograph or --subject")
    check_local(recognizer, local, encoder, tls)
    with open_encoder(encoder, tls) as opened:
        taken = [
            take_one_face(opened, shown, most_prominent=largest)
            for shown in (photo, reference)
            if shown
        ]
    tell_of_others(*taken)
    probe = taken[0].face.map
    other = taken[1].face.map if reference else subject or ""
    missing_gallery: MissingGallery = "temporary" if reference else "fail"
    with open_recognizer(
        recognizer, local, encoder, tls, missing_gallery=missing_gallery
    ) as client:
        answer = client.verify(
            probe, other, collection=collection, max_fmr=max_fmr, min_similarity=min_similarity
        )
    if to_json:
        show_json({**as_json(answer), "photos": [_document(one) for one in taken]})
        return
    row = [
        decision_words(decision_text(VerifyDecision.Name(answer.decision)), answer.probe_flaws),
        figure_text(answer.similarity, ".3f", withheld=answer.similarities_withheld),
        threshold_text(answer.threshold),
        figure_text(answer.estimated_fmr, ".1e", withheld=answer.similarities_withheld),
    ]
    show_table(["decision", ">similarity", "threshold", ">estimated FMR"], [row])


def _document(taken: TakenFace) -> dict[str, object]:
    return {
        "photo": str(taken.photo),
        "faces_found": taken.faces_found,
        "box": as_json(taken.face.box),
    }
