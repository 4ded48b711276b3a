"""`compactface sightings`: list, watch, enroll and delete sightings."""

import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.options import Collection, Json, RecognizerOptions, TlsOptions, with_options
from command_line.output import (
    as_json,
    disagreement_text,
    show_json,
    show_table,
    write_picture,
)
from command_line.paging import pages
from command_line.sighting_texts import quality_text, seen_text, who_text
from command_line.spans import parse_span
from command_line.strangers import strangers

if TYPE_CHECKING:
    from compactface.client.subjects import OnDuplicate
    from compactface.v1.recognizer_pb2 import SightingFilter

app = typer.Typer(
    no_args_is_help=True, help="List, watch, enroll and delete sightings from cameras."
)

_RECONNECT_S = 2.0
_AGAIN = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")

_Stranger = Annotated[
    int, typer.Option(min=0, help="Only sightings of this stranger, by number from `strangers`.")
]
_Since = Annotated[
    str,
    typer.Option(
        metavar="TIME|SPAN", help="Only sightings since, e.g. 2026-11-26T08:00Z, or 30m, 8h, 2d."
    ),
]
_Until = Annotated[str, typer.Option(metavar="TIME|SPAN", help="Only sightings before.")]
_Camera = Annotated[str, typer.Option(help="Only sightings of this camera.")]
_Subject = Annotated[str, typer.Option(help="Only sightings that match this subject.")]
_Decisions = Annotated[
    list[str] | None,
    typer.Option(
        "--decision",
        metavar="match|no-match|low-quality|empty-gallery",
        help="Only sightings with this decision; repeatable.",
    ),
]


@app.command("list")
@with_options
def list_(
    *,
    collection: Collection = "default",
    since: _Since = "",
    until: _Until = "",
    camera: _Camera = "",
    subject: _Subject = "",
    decision: _Decisions = None,
    stranger: _Stranger = 0,
    most: Annotated[int, typer.Option(min=1, help="Largest number to list.")] = 100,
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """List sightings, latest first."""
    only = _filter(since, until, camera, subject, decision, stranger)
    with recognizer.connect(tls) as client:
        listing = pages(
            client.sightings.list, collection=collection, only=only, page_size=min(most, 1000)
        )
        found = list(islice((item for page in listing for item in page.sightings), most))
    if to_json:
        show_json([as_json(item) for item in found])
        return
    rows = [
        [item.sighting_id, seen_text(item), item.camera_id, quality_text(item), who_text(item)]
        for item in found
    ]
    show_table(["sighting", "seen", "camera", ">quality", "who"], rows)


@app.command()
@with_options
def watch(
    *,
    collection: Collection = "default",
    camera: _Camera = "",
    subject: _Subject = "",
    decision: _Decisions = None,
    count: Annotated[int, typer.Option(min=0, help="Stop after this many; 0: never.")] = 0,
    resume: Annotated[
        str, typer.Option(metavar="TOKEN", help="Resume after the sighting with this resume_token.")
    ] = "",
    to_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs, one sighting per line.")
    ] = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Print sightings as they are identified, until stopped; reconnects when necessary."""
    import json

    from compactface.client import RequestFailed

    only = _filter("", "", camera, subject, decision)
    seen = 0
    with recognizer.connect(tls) as client:
        # Only a recognizer that was reachable once is waited for; none is missed meanwhile.
        token = (
            resume
            or client.sightings.list(collection=collection, only=only, page_size=1).resume_token
        )
        while True:
            try:
                for answer in client.sightings.watch(
                    collection=collection, only=only, resume_token=token
                ):
                    token = answer.resume_token
                    if to_json:
                        typer.echo(json.dumps(as_json(answer)))
                    else:
                        item = answer.sighting
                        typer.echo(
                            f"{seen_text(item)}  {item.camera_id}  {who_text(item)}  "
                            f"{item.sighting_id}"
                        )
                    seen += 1
                    if seen == count:
                        return
            except RequestFailed as error:
                if error.code not in _AGAIN:
                    raise
                typer.echo(f"{error.reason}: {error.message}; reconnecting", err=True)
                time.sleep(_RECONNECT_S)


@app.command()
@with_options
def show(
    sighting: Annotated[str, typer.Argument(help="Id of the sighting, from `list`.")],
    *,
    collection: Collection = "default",
    out: Annotated[
        Path | None, typer.Option(help="File for the picture of its map, a PNG.")
    ] = None,
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Show a sighting, with its picture if requested."""
    with recognizer.connect(tls) as client:
        answer = client.sightings.get(
            sighting, collection=collection, include_picture=out is not None
        )
    if out is not None:
        write_picture(out, answer.picture_png)
    item = answer.sighting
    if to_json:
        show_json(as_json(item))
        return
    typer.echo(f"{seen_text(item)}  {item.camera_id}  {who_text(item)}")


app.command()(strangers)


@app.command()
@with_options
def enroll(
    sightings: Annotated[
        list[str] | None,
        typer.Argument(metavar="SIGHTING", help="Ids of sightings, from `list`, or a stranger."),
    ] = None,
    *,
    stranger: Annotated[
        int, typer.Option(min=0, help="Number of a stranger, from `strangers`.")
    ] = 0,
    subject: Annotated[str, typer.Option(help="Id of the subject; default: generated.")] = "",
    name: Annotated[str, typer.Option(help="Display name.")] = "",
    collection: Collection = "default",
    allow_duplicate: Annotated[
        bool, typer.Option("--allow-duplicate", help="Enroll even if another subject looks alike.")
    ] = False,
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Enroll a subject from one or several sightings, or from those of a stranger."""
    if bool(sightings) == bool(stranger):
        raise typer.BadParameter("give ids of sightings, or --stranger")
    on_duplicate: OnDuplicate = "allow" if allow_duplicate else "reject"
    with recognizer.connect(tls) as client:
        if stranger:
            answer = client.sightings.enroll_stranger(
                stranger,
                subject_id=subject,
                display_name=name,
                collection=collection,
                on_duplicate=on_duplicate,
            )
        else:
            answer = client.sightings.enroll(
                sightings or (),
                subject_id=subject,
                display_name=name,
                collection=collection,
                on_duplicate=on_duplicate,
            )
    if to_json:
        show_json(as_json(answer))
        return
    typer.echo(f"enrolled {answer.subject.subject_id} with {answer.subject.face_count} faces")
    for found in answer.disagreements:
        typer.echo(f"face {found.face_id}: {disagreement_text(found)}")


@app.command()
@with_options
def delete(
    sightings: Annotated[
        list[str] | None, typer.Argument(metavar="SIGHTING", help="Ids, or use filters.")
    ] = None,
    *,
    collection: Collection = "default",
    since: _Since = "",
    until: _Until = "",
    camera: _Camera = "",
    subject: _Subject = "",
    stranger: _Stranger = 0,
    everything: Annotated[bool, typer.Option("--all", help="All of the collection.")] = False,
    wait: Annotated[
        float,
        typer.Option(min=0, max=60, help="Seconds to wait until the data is erased."),
    ] = 10.0,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Delete sightings by id or by filters."""
    filtered = any((since, until, camera, subject, stranger))
    if sum((bool(sightings), filtered, everything)) != 1:
        raise typer.BadParameter("give ids, filters, or --all")
    only = None if sightings else _filter(since, until, camera, subject, None, stranger)
    with recognizer.connect(tls) as client:
        answer = client.sightings.delete(
            sightings or (),
            collection=collection,
            only=only,
            erasure_wait=timedelta(seconds=wait),
        )
    later = answer.sightings_deleted and not answer.erased
    rest = "; their data will be erased from disk in the background" if later else ""
    typer.echo(f"deleted {answer.sightings_deleted} sightings{rest}")


def _filter(
    since: str,
    until: str,
    camera: str,
    subject: str,
    decisions: list[str] | None,
    stranger: int = 0,
) -> "SightingFilter":
    from compactface.client.sightings import sighting_filter

    try:
        return sighting_filter(
            start=_time(since, "--since"),
            end=_time(until, "--until"),
            camera=camera,
            subject=subject,
            decisions=decisions or (),
            stranger=stranger,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _time(text: str, option: str) -> datetime | None:
    """Parse a time, in UTC by default, or a span before now."""
    if not text:
        return None
    span = parse_span(text)
    try:
        if span is not None:
            return datetime.now(UTC) - span
        time_ = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{option} is {text!r}; expected a time, e.g. 2026-11-26T08:00Z, or a span, e.g. 8h"
        ) from None
    return time_ if time_.tzinfo else time_.replace(tzinfo=UTC)
