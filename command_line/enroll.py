"""`compactface enroll`: enroll a subject."""

from typing import Annotated

import typer

from command_line.local_recognizer import check_local, open_recognizer
from command_line.options import (
    Collection,
    EncoderOptions,
    Largest,
    LocalOptions,
    Photos,
    RecognizerOptions,
    TlsOptions,
    with_options,
)
from command_line.output import disagreement_text
from command_line.photo_arguments import each_photo
from command_line.photos import open_encoder, take_one_face, tell_of_others


@with_options
def enroll(
    subject: Annotated[str, typer.Argument(help="Id of the subject, new or existing.")],
    photos: Photos,
    *,
    name: Annotated[str, typer.Option(help="Display name.")] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(help="Label of the subject; repeatable. Replaces existing labels."),
    ] = None,
    collection: Collection = "default",
    largest: Largest = False,
    allow_duplicate: Annotated[
        bool, typer.Option("--allow-duplicate", help="Enroll even if another subject looks alike.")
    ] = False,
    allow_low_quality: Annotated[
        bool, typer.Option("--allow-low-quality", help="Even if a face's quality is too low.")
    ] = False,
    encoder: EncoderOptions,
    recognizer: RecognizerOptions,
    local: LocalOptions,
    tls: TlsOptions,
) -> None:
    """Enroll a subject with one face from each photograph.

    A photograph's EXIF time becomes the face's capture time if it has a UTC offset. Either all
    faces are enrolled or none. Without --encoder the model's finest operating point is used. Needs
    a recognizer service, or --local, which creates a missing gallery.
    """
    check_local(recognizer, local, encoder, tls)
    photos = [photo.path for photo in each_photo(photos)]
    with open_encoder(encoder, tls, enrolling=True) as opened:
        taken = [take_one_face(opened, photo, most_prominent=largest) for photo in photos]
    tell_of_others(*taken)
    with open_recognizer(recognizer, local, encoder, tls, missing_gallery="create") as client:
        answer = client.subjects.enroll(
            [one.face.map for one in taken],
            subject_id=subject,
            display_name=name,
            labels=label or (),
            collection=collection,
            on_duplicate="allow" if allow_duplicate else "reject",
            allow_low_quality=allow_low_quality,
        )
    typer.echo(
        f"enrolled {len(answer.faces)} faces of {answer.subject.subject_id} in {collection}; "
        f"{answer.subject.face_count} in all"
    )
    photo_of = dict(zip((face.face_id for face in answer.faces), photos, strict=True))
    for doubt in answer.disagreements:
        typer.echo(f"warning: {photo_of[doubt.face_id]}: {disagreement_text(doubt)}", err=True)
