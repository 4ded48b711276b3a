"""`compactface gallery create`, `update` and `update-subject`: change settings and metadata."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from command_line.options import Collection, RecognizerOptions, TlsOptions, with_options

CollectionId = Annotated[str, typer.Argument(help="Id of the collection.")]
SubjectId = Annotated[str, typer.Argument(help="Id of the subject.")]

_MaxFpir = Annotated[
    float | None, typer.Option(help="Default FPIR of identify, in (0, 1); initially 0.01.")
]
_MaxFmr = Annotated[
    float | None, typer.Option(help="Default FMR of verify, in (0, 1); initially 0.001.")
]
_SightingHours = Annotated[
    float | None,
    typer.Option(min=0, help="How long streamed maps are kept; 0: not at all; 24 if new."),
]
_MaxSubjects = Annotated[int | None, typer.Option(min=0, help="Limit of subjects; 0: none.")]
_MaxFaces = Annotated[int | None, typer.Option(min=0, help="Limit of faces; 0: none.")]
_SubjectDays = Annotated[
    float | None,
    typer.Option(min=0, help="Days after which a subject is deleted; 0: never."),
]
_Score = Annotated[
    Literal["best-face", "mean-template"] | None,
    typer.Option(help="Score of a subject: the best of its faces, or their mean."),
]
_StrangerFpir = Annotated[
    float | None,
    typer.Option(
        "--strangers",
        metavar="FPIR",
        min=0,
        max=1,
        help="Group unknown sightings of one person, at this rate of wrong joins; 0: do not.",
    ),
]
_MinLiveness = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Liveness that clients must claim to identify, verify and enroll; 0: none.",
    ),
]


@with_options
def create(
    collection: CollectionId,
    *,
    max_fpir: _MaxFpir = None,
    max_fmr: _MaxFmr = None,
    sighting_hours: _SightingHours = None,
    max_subjects: _MaxSubjects = None,
    max_faces: _MaxFaces = None,
    subject_days: _SubjectDays = None,
    score: _Score = None,
    strangers: _StrangerFpir = None,
    min_liveness: _MinLiveness = None,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Create a collection."""
    with recognizer.connect(tls) as client:
        client.collections.create(
            collection,
            max_fpir=max_fpir or 0,
            max_fmr=max_fmr or 0,
            sighting_retention=None if sighting_hours is None else timedelta(hours=sighting_hours),
            max_subjects=max_subjects or 0,
            max_faces=max_faces or 0,
            subject_retention=timedelta(days=subject_days or 0),
            subject_score=score or "best-face",
            max_stranger_fpir=strangers or 0,
            min_liveness=min_liveness or 0,
        )
    typer.echo(f"created {collection}")


@with_options
def update(
    collection: CollectionId,
    *,
    max_fpir: _MaxFpir = None,
    max_fmr: _MaxFmr = None,
    sighting_hours: _SightingHours = None,
    max_subjects: _MaxSubjects = None,
    max_faces: _MaxFaces = None,
    subject_days: _SubjectDays = None,
    score: _Score = None,
    strangers: _StrangerFpir = None,
    min_liveness: _MinLiveness = None,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Change the settings of a collection that are given as options.

    Lowering a limit deletes nothing; a shorter retention also applies to existing data.
    """
    with recognizer.connect(tls) as client:
        client.collections.update(
            collection,
            max_fpir=max_fpir,
            max_fmr=max_fmr,
            sighting_retention=None if sighting_hours is None else timedelta(hours=sighting_hours),
            max_subjects=max_subjects,
            max_faces=max_faces,
            subject_retention=None if subject_days is None else timedelta(days=subject_days),
            subject_score=score,
            max_stranger_fpir=strangers,
            min_liveness=min_liveness,
        )
    typer.echo(f"changed {collection}")


@with_options
def update_subject(
    subject: SubjectId,
    *,
    name: Annotated[str | None, typer.Option(help="New display name.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Label of the subject; repeatable. Replaces existing labels."),
    ] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Remove all labels.")] = False,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Metadata; repeatable. Replaces existing metadata."),
    ] = None,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of deletion, UTC.")
    ] = None,
    collection: Collection = "default",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Change the fields of a subject that are given as options."""
    if name is None and not (label or no_labels or metadata or expires):
        raise typer.BadParameter("nothing to change; see --help")
    with recognizer.connect(tls) as client:
        changed = client.subjects.update(
            subject,
            collection=collection,
            display_name=name,
            labels=[] if no_labels else label or None,
            metadata=dict(map(_fact, metadata)) if metadata else None,
            expire_time=expires.replace(tzinfo=UTC) if expires else None,
        ).subject
    typer.echo(f"changed {subject}, now at revision {changed.revision}")


def _fact(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--metadata {text!r} has no '='")
    return key, value
