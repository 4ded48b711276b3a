import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from recognizer_service.gallery.types import Enrolment
from shared.errors import FailedPrecondition, InvalidInput, NotFound
from tests.gallery_faces import SPACE, embedding, new_face, person
from tests.locations import only_in_sqlite


@pytest.fixture
def gallery(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE) as opened:
        yield opened


def test_search_agrees_with_brute_force(gallery: Gallery) -> None:
    """Subjects by their best face, best first, for every count."""
    faces = {f"s{i}": [embedding(10 * i + j) for j in range(1 + i % 3)] for i in range(40)}
    for subject, vectors in faces.items():
        enrolment = Enrolment(tuple(new_face(0, vector) for vector in vectors), subject)
        gallery.enroll("default", enrolment)
    for seed in range(1000, 1010):
        probe = embedding(seed)
        best = {subject: max(v @ probe for v in vectors) for subject, vectors in faces.items()}
        expected = sorted(best, key=lambda subject: -best[subject])
        for count in (1, 3, 100):
            hits = gallery.search("default", probe, count=count)
            assert [hit.subject_id for hit in hits] == expected[:count]
            cosines = [best[hit.subject_id] for hit in hits]
            np.testing.assert_allclose([hit.similarity for hit in hits], cosines, atol=1e-6)


def test_many_faces_of_one_subject_do_not_crowd_out_others(gallery: Gallery) -> None:
    near = tuple(new_face(s, embedding(s, like=1, cosine=0.9)) for s in range(100, 132))
    gallery.enroll("default", Enrolment(near, "many"))
    gallery.enroll("default", person(2))
    hits = gallery.search("default", embedding(1), count=2)
    assert [hit.subject_id for hit in hits] == ["many", "person-2"]


def test_hit_names_the_face_that_is_most_similar(gallery: Gallery) -> None:
    enrolled = gallery.enroll("default", person(1, 2, 3, subject_id="ann", name="Ann"))
    probe = embedding(9, like=2, cosine=0.8)
    hit = gallery.search("default", probe, count=1)[0]
    assert (hit.subject_id, hit.display_name) == ("ann", "Ann")
    assert hit.face_id == enrolled.faces[1].face_id
    assert hit.codec_id == enrolled.faces[1].codec_id
    assert hit.similarity == pytest.approx(0.8, abs=1e-6)
    assert gallery.similarity_to_subject("default", "ann", probe).face_id == hit.face_id


def test_similarity_never_leaves_its_range(gallery: Gallery) -> None:
    """Rounding may carry an inner product of unit vectors past 1."""
    for seed in range(50):
        vector = embedding(seed) * np.float32(1.0004)
        gallery.enroll("default", Enrolment((new_face(seed, vector),), f"s{seed}"))
        assert gallery.search("default", vector, count=1)[0].similarity <= 1
        assert gallery.similarity_to_subject("default", f"s{seed}", vector).similarity <= 1


def test_empty_collection_has_no_hits(gallery: Gallery) -> None:
    assert gallery.search("default", embedding(1), count=5) == []
    gallery.collections.create("fresh")
    assert gallery.search("fresh", embedding(1), count=5) == []


def test_collections_do_not_see_each_other(gallery: Gallery) -> None:
    gallery.collections.create("other")
    gallery.enroll("other", person(1))
    gallery.enroll("default", person(2))
    hits = gallery.search("default", embedding(1), count=5)
    assert [hit.subject_id for hit in hits] == ["person-2"]


def test_deleted_faces_and_subjects_are_not_found_again(gallery: Gallery) -> None:
    face = gallery.enroll("default", person(1, 2, subject_id="ann")).faces[0]
    gallery.enroll("default", person(3))
    gallery.subjects.delete_face("default", face.face_id)
    gallery.subjects.delete("default", "person-3")
    hits = gallery.search("default", embedding(1), count=5)
    assert [hit.subject_id for hit in hits] == ["ann"]
    assert hits[0].face_id != face.face_id
    assert hits[0].similarity < 0.5


@only_in_sqlite
def test_hit_that_the_database_does_not_know_is_dropped(gallery: Gallery, tmp_path: Path) -> None:
    """The index is a cache: a face that is gone behind its back is not returned."""
    for seed in range(1, 8):
        gallery.enroll("default", person(seed))
    outside = sqlite3.connect(tmp_path / "gallery.sqlite", isolation_level=None)
    outside.execute("PRAGMA foreign_keys = ON")
    outside.execute("DELETE FROM subjects WHERE id != 'person-7'")
    outside.close()
    hits = gallery.search("default", embedding(1), count=1)
    assert [hit.subject_id for hit in hits] == ["person-7"]
    problems = " ".join(gallery.check().problems)
    assert "0 missing, 6 surplus" in problems
    assert "counts 7 subjects and holds 1" in problems


@pytest.mark.parametrize(
    "probe",
    [
        embedding(1)[:100],
        embedding(1).reshape(1, 512),
        np.zeros(512, np.float32),
        np.full(512, np.nan, np.float32),
        np.full(512, np.inf, np.float32),
    ],
)
def test_impossible_probe_is_refused(gallery: Gallery, probe: np.ndarray) -> None:
    gallery.enroll("default", person(1))
    with pytest.raises(InvalidInput):
        gallery.search("default", probe, count=1)
    with pytest.raises(InvalidInput):
        gallery.similarity_to_subject("default", "person-1", probe)


@pytest.mark.parametrize("count", [0, -1, 101])
def test_count_out_of_range_is_refused(gallery: Gallery, count: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 100"):
        gallery.search("default", embedding(1), count=count)


def test_unknown_collection_or_subject_is_not_found(gallery: Gallery) -> None:
    with pytest.raises(NotFound) as missing:
        gallery.search("none", embedding(1), count=1)
    assert missing.value.reason == "COLLECTION_NOT_FOUND"
    with pytest.raises(NotFound) as missing:
        gallery.similarity_to_subject("default", "none", embedding(1))
    assert missing.value.reason == "SUBJECT_NOT_FOUND"


def test_subject_without_faces_cannot_be_compared_with(gallery: Gallery) -> None:
    face = gallery.enroll("default", person(1)).faces[0]
    gallery.subjects.delete_face("default", face.face_id)
    with pytest.raises(FailedPrecondition) as refused:
        gallery.similarity_to_subject("default", "person-1", embedding(1))
    assert refused.value.reason == "SUBJECT_HAS_NO_FACES"
