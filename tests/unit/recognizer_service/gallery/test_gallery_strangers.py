"""Strangers: unknown sightings grouped by person, in SQLite and PostgreSQL."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import numpy as np
import pytest

from recognizer_service.gallery.alerts.rules import AlertRule
from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings import grouping
from recognizer_service.gallery.sightings.types import (
    SeenFace,
    Sighting,
    SightingFilter,
    SightingFinding,
    Stranger,
    UnknownFace,
)
from recognizer_service.gallery.storage.locations import Location
from recognizer_service.gallery.types import Embedding, EmbeddingSpaceChanged
from shared.errors import InvalidInput, NotFound
from tests.clock import Clock
from tests.gallery_faces import SPACE, embedding, new_face, store, wait_until_erased
from tests.locations import only_in_sqlite

HOUR = timedelta(hours=1)
THRESHOLD = 0.5
NOBODY = SightingFinding("no_match")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gallery(location: Location, clock: Clock) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE, now=clock, elapsed_s=clock.elapsed_s) as opened:
        opened.collections.create("site", sighting_retention_s=3600, max_stranger_fpir=0.01)
        yield opened


def face(vector: Embedding, quality: float = 0.5, *, allowance: float = 0.0) -> UnknownFace:
    return UnknownFace(
        vector,
        SPACE,
        quality,
        thresholds=lambda _rate, _faces: CodecThresholds(others=THRESHOLD),
        allowance=lambda _codec_id, _png: allowance,
    )


def like(seed: int, cosine: float = 0.9, *, variant: int = 0) -> Embedding:
    """Another picture of the person of a seed, at a cosine to the first."""
    return embedding(1000 + 100 * seed + variant, like=seed, cosine=cosine)


def arrive(
    gallery: Gallery, count: int = 1, *, camera: str = "door", clock: Clock | None = None
) -> list[SeenFace]:
    """Store sightings; with a clock, captured at its time."""
    made = new_face(9)
    at = clock.time if clock else None
    ids = [str(uuid4()) for _ in range(count)]
    for id_ in ids:
        store(gallery, "site", Sighting(id_, camera, made.codec_id, made.png, 0.5, at))
    return gallery.sightings.find("site", ids)


def see(gallery: Gallery, *faces: UnknownFace, camera: str = "door") -> list[SeenFace]:
    """Sightings come together, and match nobody."""
    seen = arrive(gallery, len(faces), camera=camera)
    keep(gallery, seen, faces)
    return gallery.sightings.find("site", [one.sighting.sighting_id for one in seen])


def keep(gallery: Gallery, seen: Sequence[SeenFace], faces: Sequence[UnknownFace]) -> None:
    gallery.sightings.keep_findings(
        {one.key: NOBODY for one in seen},
        {one.key: each for one, each in zip(seen, faces, strict=True)},
    )


def numbers(seen: Sequence[SeenFace]) -> list[int]:
    return [one.stranger for one in seen]


def strangers(gallery: Gallery, **options: int) -> tuple[Stranger, ...]:
    return gallery.strangers.list("site", **options).items


def test_a_stranger_that_returns_is_one_row(gallery: Gallery, clock: Clock) -> None:
    began = clock.time
    (first,) = see(gallery, face(embedding(1), 0.4))
    clock.time += HOUR / 6
    second, other = see(gallery, face(like(1), 0.9), face(embedding(2)), camera="yard")
    assert numbers([first, second, other]) == [1, 1, 2]
    latest, earlier = strangers(gallery)
    assert (latest.number, latest.sightings) == (2, 1)
    assert earlier == Stranger(
        1, 2, ("yard", "door"), began, clock.time, second.sighting.sighting_id
    )
    assert strangers(gallery, min_sightings=2) == (earlier,)
    only = SightingFilter(stranger=1)
    listed = gallery.sightings.list("site", only=only).items
    assert {one.key for one in listed} == {first.key, second.key}


def test_strangers_are_grouped_only_where_the_collection_says_so(gallery: Gallery) -> None:
    see(gallery, face(embedding(1)))
    gallery.collections.update("site", max_stranger_fpir=0)
    assert strangers(gallery) == ()
    (one,) = see(gallery, face(embedding(1)))
    assert one.stranger == 0
    gallery.collections.update("site", max_stranger_fpir=0.01)
    assert numbers(see(gallery, face(embedding(1)))) == [2]  # numbers are not used again
    for rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(InvalidInput):
            gallery.collections.update("site", max_stranger_fpir=rate)


def test_most_of_the_faces_compared_must_match(gallery: Gallery) -> None:
    """A face like one of three, and unlike two, does not chain two people."""
    variants = [like(1, 0.75, variant=n) for n in range(2)]
    seen = see(gallery, *map(face, (embedding(1), *variants)))
    assert set(numbers(seen)) == {1}
    bridge = embedding(77, like=1, cosine=0.6)
    assert [float(bridge @ other) >= THRESHOLD for other in (embedding(1), *variants)] == [
        True,
        False,
        False,
    ]
    assert numbers(see(gallery, face(bridge))) == [2]
    away = variants[1]
    turned = embedding(78, like=1, cosine=0.75)
    turned = turned - 0.2 * float(turned @ away) * away
    turned = (turned / np.linalg.norm(turned)).astype(np.float32)
    assert [float(turned @ other) >= THRESHOLD for other in (embedding(1), variants[0], away)] == [
        True,
        True,
        False,
    ]
    assert numbers(see(gallery, face(turned))) == [1]


def test_the_best_of_the_latest_faces_are_compared(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "MAX_FACES", 1)
    see(gallery, face(embedding(1), 0.9))
    blurred = embedding(50, like=1, cosine=0.55)
    see(gallery, face(blurred, 0.1))
    near = like(1, 0.8)
    assert float(near @ blurred) < THRESHOLD
    assert numbers(see(gallery, face(near, 0.2))) == [1]
    monkeypatch.setattr(grouping, "KEPT_VECTORS", 1)
    see(gallery, face(blurred, 0.1))  # from now on, it is the only one
    assert numbers(see(gallery, face(like(1, 0.8, variant=1), 0.2))) == [2]


def test_a_stranger_is_compared_while_it_is_among_the_latest(
    gallery: Gallery, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "MAX_STRANGERS", 2)
    for seed in (1, 2, 3):
        clock.time += HOUR / 60
        see(gallery, face(embedding(seed)))
    assert numbers(see(gallery, face(like(2)))) == [2]
    assert numbers(see(gallery, face(like(1)))) == [4]


def test_flaws_that_two_faces_share_raise_the_threshold(gallery: Gallery) -> None:
    see(gallery, face(embedding(1)))
    assert numbers(see(gallery, face(like(1, 0.6), allowance=0.2))) == [2]
    assert numbers(see(gallery, face(like(1, 0.8, variant=1), allowance=0.2))) == [1]


def test_two_faces_of_one_picture_are_two_strangers(gallery: Gallery, clock: Clock) -> None:
    twins = arrive(gallery, 2, clock=clock)
    keep(gallery, twins, [face(embedding(1)), face(like(1))])
    other_camera = arrive(gallery, camera="yard", clock=clock)
    keep(gallery, other_camera, [face(like(1, variant=1))])
    ids = [one.sighting.sighting_id for one in (*twins, *other_camera)]
    assert numbers(gallery.sightings.find("site", ids)) == [1, 2, 1]


def test_an_identification_again_changes_no_group_unless_it_matches(gallery: Gallery) -> None:
    seen = see(gallery, face(embedding(1)), face(like(1)))
    keep(gallery, seen, [face(embedding(1)), face(embedding(2))])  # e.g. by another replica
    (one,) = strangers(gallery)
    assert one.sightings == 2
    gallery.sightings.keep_findings({seen[0].key: SightingFinding("", failure="UNKNOWN_CODEC")})
    assert strangers(gallery)[0].sightings == 2
    gallery.sightings.keep_findings({seen[0].key: SightingFinding("match")})
    assert strangers(gallery)[0].sightings == 1


def test_a_stranger_goes_with_its_last_sighting(gallery: Gallery, clock: Clock) -> None:
    see(gallery, face(embedding(1)))
    clock.time += HOUR / 2
    see(gallery, face(like(1)))
    (deleted,) = see(gallery, face(embedding(2)))
    gallery.sightings.delete("site", sighting_ids=[deleted.sighting.sighting_id])
    assert [(one.number, one.sightings) for one in strangers(gallery)] == [(1, 2)]
    clock.time += HOUR / 2
    assert [(one.number, one.sightings) for one in strangers(gallery)] == [(1, 1)]
    clock.time += HOUR / 2
    assert strangers(gallery) == ()
    assert numbers(see(gallery, face(like(1)))) == [3]  # of those, nothing is known any more
    gallery.purge_expired()
    assert [one.number for one in strangers(gallery)] == [3]


@only_in_sqlite
def test_the_embeddings_of_strangers_leave_the_disk(gallery: Gallery, location: Location) -> None:
    vector = embedding(1)
    (one,) = see(gallery, face(vector))
    folder = location.parent  # type: ignore[union-attr] - a file in SQLite

    def on_disk() -> bool:
        return any(vector.tobytes() in file.read_bytes() for file in folder.iterdir())

    assert on_disk()
    gallery.sightings.delete("site", sighting_ids=[one.sighting.sighting_id])
    wait_until_erased(gallery)
    assert not on_disk()
    see(gallery, face(vector))
    gallery.collections.update("site", max_stranger_fpir=0)
    wait_until_erased(gallery)
    assert not on_disk()


def test_pages_of_strangers_last_seen_first(gallery: Gallery, clock: Clock) -> None:
    for seed in range(5):
        clock.time += timedelta(minutes=seed % 2)  # some are seen at the same time
        see(gallery, face(embedding(seed)))
    found, token = [], ""
    while True:
        page = gallery.strangers.list("site", page_size=2, page_token=token)
        found += [one.number for one in page.items]
        if not (token := page.next_page_token):
            break
    assert found == [5, 4, 3, 2, 1]
    with pytest.raises(InvalidInput, match="page token"):
        gallery.strangers.list("site", page_token="MTox")
    with pytest.raises(NotFound):
        gallery.strangers.list("none")


def test_sightings_of_a_stranger_are_its_own_best_first(gallery: Gallery) -> None:
    qualities = (0.2, 0.9, 0.5)
    seen = see(gallery, *(face(like(1, 0.95, variant=n), q) for n, q in enumerate(qualities)))
    see(gallery, face(embedding(2)))
    best_first = [seen[1].key, seen[2].key, seen[0].key]
    assert [one.key for one in gallery.strangers.sightings("site", 1)] == best_first
    for number in (3, 2**64 - 1):
        with pytest.raises(NotFound, match="stranger"):
            gallery.strangers.sightings("site", number)


def test_embeddings_of_another_model_are_replaced_and_not_compared_before(
    gallery: Gallery,
) -> None:
    one, other = see(gallery, face(embedding(1)), face(embedding(2)))
    assert gallery.strangers.stale(SPACE, most=10) == []
    with pytest.raises(EmbeddingSpaceChanged):
        gallery.strangers.renew("space-b", {one.key: embedding(3)})
    (stale, _) = gallery.strangers.stale("space-b", most=10)
    assert stale.key == other.key  # the latest first
    gallery.strangers.renew(SPACE, {one.key: embedding(3), other.key: None})
    assert numbers(see(gallery, face(like(3)), face(like(1)))) == [1, 3]
    assert {each.number for each in strangers(gallery)} == {1, 2, 3}
    assert gallery.strangers.stale(SPACE, most=10) == []


def test_an_embedding_of_another_space_is_refused(gallery: Gallery) -> None:
    seen = arrive(gallery)
    foreign = UnknownFace(
        embedding(1),
        "space-b",
        0.5,
        thresholds=lambda _rate, _faces: CodecThresholds(others=THRESHOLD),
        allowance=lambda _codec_id, _png: 0.0,
    )
    with pytest.raises(EmbeddingSpaceChanged):
        keep(gallery, seen, [foreign])
    assert gallery.sightings.find("site", [seen[0].sighting.sighting_id])[0].finding is None


def test_codecs_without_calibration_join_nobody(gallery: Gallery) -> None:
    see(gallery, face(embedding(1)))
    alien = UnknownFace(
        like(1),
        SPACE,
        0.5,
        thresholds=lambda _rate, _faces: CodecThresholds({"0" * 16: 0.1}),
        allowance=lambda _codec_id, _png: 0.0,
    )
    assert numbers(see(gallery, alien)) == [2]


def test_strangers_of_collections_are_apart_and_go_with_theirs(gallery: Gallery) -> None:
    gallery.collections.create("other", sighting_retention_s=3600, max_stranger_fpir=0.01)
    see(gallery, face(embedding(1)))
    made = new_face(9)
    id_ = str(uuid4())
    store(gallery, "other", Sighting(id_, "door", made.codec_id, made.png))
    there = gallery.sightings.find("other", [id_])
    keep(gallery, there, [face(like(1))])
    assert gallery.strangers.list("other").items[0].sightings == 1
    assert strangers(gallery)[0].sightings == 1
    gallery.collections.delete("site")
    wait_until_erased(gallery)
    gallery.purge_expired()
    assert gallery.check().ok
    assert len(gallery.strangers.list("other").items) == 1


def test_a_rule_rings_once_for_each_stranger_at_all_cameras(gallery: Gallery) -> None:
    rule = AlertRule(quiet_s=600)
    gallery.alert_rules.create("site", rule)

    def rung(*faces: UnknownFace, camera: str) -> int:
        seen = arrive(gallery, len(faces), camera=camera)
        return gallery.sightings.keep_findings(
            {one.key: NOBODY for one in seen},
            {one.key: each for one, each in zip(seen, faces, strict=True)},
        ).events

    assert rung(face(embedding(1)), face(like(1)), camera="door") == 1
    assert rung(face(like(1, variant=1)), camera="yard") == 0
    assert rung(face(embedding(2)), camera="door") == 1
    assert rung(face(like(2)), camera="yard") == 0


@pytest.mark.parametrize("location", ["cluster"], indirect=True)
def test_recognizers_that_share_a_gallery_make_one_row_of_one_person(
    gallery: Gallery, location: Location, clock: Clock
) -> None:
    """Both identify all sightings, at the same time and in another order."""
    seen = arrive(gallery, 12)
    faces = [face(like(1 + at % 3, 0.95, variant=at)) for at in range(12)]
    with (
        Gallery(location, embedding_space=SPACE, now=clock, elapsed_s=clock.elapsed_s) as other,
        ThreadPoolExecutor(2) as threads,
    ):
        done = [
            threads.submit(keep, each, seen[at : at + 4], faces[at : at + 4])
            for starts, each in (((0, 4, 8), gallery), ((8, 4, 0), other))
            for at in starts
        ]
        for one in done:
            one.result()
        assert [one.sightings for one in other.strangers.list("site").items] == [4, 4, 4]
