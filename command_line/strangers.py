"""`compactface sightings strangers`: list the strangers."""

from itertools import islice
from typing import Annotated

import typer

from command_line.options import Collection, Json, RecognizerOptions, TlsOptions, with_options
from command_line.output import as_json, show_json, show_table
from command_line.paging import pages
from command_line.sighting_texts import time_text


@with_options
def strangers(
    *,
    collection: Collection = "default",
    seen: Annotated[int, typer.Option(min=1, help="Only those seen at least so often.")] = 1,
    most: Annotated[int, typer.Option(min=1, help="Largest number to list.")] = 100,
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """List strangers, last seen first: unknown sightings, grouped by person.

    Sightings are grouped once `compactface gallery update COLLECTION --strangers 0.01` allows it.
    """
    with recognizer.connect(tls) as client:
        listing = pages(
            client.sightings.strangers,
            collection=collection,
            min_sightings=seen,
            page_size=min(most, 1000),
        )
        found = list(islice((item for page in listing for item in page.strangers), most))
    if to_json:
        show_json([as_json(item) for item in found])
        return
    rows = [
        [
            str(item.stranger_number),
            str(item.sightings),
            time_text(item.first_time),
            time_text(item.last_time),
            ", ".join(item.camera_ids),
        ]
        for item in found
    ]
    show_table([">stranger", ">sightings", "first seen", "last seen", "cameras"], rows)
