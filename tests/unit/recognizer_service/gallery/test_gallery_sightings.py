from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings.types import Sighting, SightingFilter, SightingOutcome
from recognizer_service.gallery.storage.locations import Location
from shared.errors import AlreadyExists, InvalidInput, NotFound
from tests.clock import Clock
from tests.gallery_faces import SPACE, new_face, store
from tests.locations import only_in_sqlite

START = Clock().time
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gallery(location: Location, clock: Clock) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE, now=clock, elapsed_s=clock.elapsed_s) as opened:
        opened.collections.create("kept", sighting_retention_s=3600)
        yield opened


def sighting(seed: int) -> Sighting:
    face = new_face(seed)
    return Sighting(str(uuid4()), "door-1", face.codec_id, face.png, 0.25, START)


def test_sighting_is_kept_as_given(gallery: Gallery) -> None:
    seen = sighting(1)
    assert store(gallery, "kept", seen) is SightingOutcome.STORED
    got = gallery.sightings.find("kept", [seen.sighting_id])[0].sighting
    assert got == seen


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("north", ["north", "north/door", "north/yard"]),
        ("north/door", ["north/door"]),
        ("door", []),
        ("North", ["North/door"]),
    ],
)
def test_sightings_of_a_camera_or_of_all_cameras_of_an_encoder(
    gallery: Gallery, asked: str, found: list[str]
) -> None:
    for camera in ("north", "north/door", "north/yard", "North/door", "north-east/door"):
        store(gallery, "kept", replace(sighting(1), camera_id=camera))
    page = gallery.sightings.list(
        "kept", only=SightingFilter(camera_id=asked), page_size=9, page_token=""
    )
    assert sorted(seen.sighting.camera_id for seen in page.items) == found


def test_sighting_needs_no_quality_or_time(gallery: Gallery) -> None:
    seen = replace(sighting(1), quality=None, captured_at=None)
    store(gallery, "kept", seen)
    got = gallery.sightings.find("kept", [seen.sighting_id])[0].sighting
    assert got == seen


def test_sighting_sent_twice_is_stored_once(gallery: Gallery) -> None:
    seen = sighting(1)
    store(gallery, "kept", seen)
    assert store(gallery, "kept", seen) is SightingOutcome.DUPLICATE


@pytest.mark.parametrize(
    "change", [{"png": b"other"}, {"camera_id": "door-2"}, {"captured_at": None}, {"quality": 0.5}]
)
def test_sighting_id_with_another_body_is_refused(gallery: Gallery, change: dict[str, Any]) -> None:
    seen = sighting(1)
    store(gallery, "kept", seen)
    with pytest.raises(AlreadyExists) as refused:
        store(gallery, "kept", replace(seen, **change))
    assert refused.value.reason == "SIGHTING_ID_REUSED"
    assert gallery.sightings.find("kept", [seen.sighting_id])[0].sighting == seen


def test_collection_without_retention_discards_sightings(gallery: Gallery) -> None:
    seen = sighting(1)
    gallery.collections.create("kept-none", sighting_retention_s=0)
    assert store(gallery, "kept-none", seen) is SightingOutcome.DISCARDED
    with pytest.raises(NotFound) as missing:
        gallery.sightings.find("kept-none", [seen.sighting_id])
    assert missing.value.reason == "SIGHTING_NOT_FOUND"


def test_sightings_belong_to_their_collection(gallery: Gallery) -> None:
    seen = sighting(1)
    store(gallery, "kept", seen)
    with pytest.raises(NotFound):
        gallery.sightings.find("default", [seen.sighting_id])


@only_in_sqlite
def test_sighting_expires_and_its_bytes_leave_the_disk(
    gallery: Gallery, clock: Clock, tmp_path: Path
) -> None:
    old, young = sighting(1), sighting(2)
    store(gallery, "kept", old)
    clock.time += HOUR / 2
    store(gallery, "kept", young)
    clock.time += HOUR / 2
    with pytest.raises(NotFound):
        gallery.sightings.find("kept", [old.sighting_id])
    purged = gallery.purge_expired()
    assert purged.sightings == 1
    assert gallery.database.erased(purged.erasure, wait_s=30)
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert old.png not in raw
    assert young.png in raw
    assert gallery.sightings.find("kept", [young.sighting_id])[0].sighting == young


@pytest.mark.parametrize(
    "change",
    [
        {"sighting_id": "not-a-uuid"},
        {"sighting_id": "00112233-4455-6677-8899-AABBCCDDEEFF"},
        {"camera_id": ""},
        {"camera_id": "x" * 129},
        {"png": b""},
        {"quality": -0.1},
    ],
)
def test_bad_sighting_is_refused(gallery: Gallery, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        store(gallery, "kept", replace(sighting(1), **change))


def test_unknown_collection_is_not_found(gallery: Gallery) -> None:
    with pytest.raises(NotFound) as missing:
        store(gallery, "none", sighting(1))
    assert missing.value.reason == "COLLECTION_NOT_FOUND"
