"""Searches where faces of different codecs have different thresholds to reach."""

from collections.abc import Iterator

import pytest

from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from recognizer_service.gallery.types import Enrolment, NewFace, SubjectScore
from shared.errors import AlreadyExists, FailedPrecondition, InvalidInput
from tests.gallery_faces import CODEC, SPACE, embedding, new_face

STRICT, LAX, UNKNOWN = CODEC, "ffeeddccbbaa9988", "0123456789abcdef"
THRESHOLDS = CodecThresholds({STRICT: 0.9, LAX: 0.3})


@pytest.fixture
def gallery(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE) as opened:
        yield opened


def crowd(gallery: Gallery, people: int, *, cosine: float) -> None:
    """Enrol people of 30 faces that look so much like the probe of seed 0; of the strict codec."""
    for person in range(people):
        seeds = range(1 + 30 * person, 31 + 30 * person)
        faces = tuple(looks_like_probe(seed, cosine, STRICT) for seed in seeds)
        gallery.enroll("default", Enrolment(faces, f"crowd-{person}"))


def looks_like_probe(seed: int, cosine: float, codec_id: str) -> NewFace:
    return new_face(seed, embedding(seed, like=0, cosine=cosine), codec_id=codec_id)


@pytest.mark.parametrize("people", [1, 10])  # more faces than are looked at first, too
def test_who_exceeds_a_lower_threshold_is_found_behind_a_crowd_of_the_more_similar(
    gallery: Gallery, people: int
) -> None:
    crowd(gallery, people, cosine=0.5)
    gallery.enroll("default", Enrolment((looks_like_probe(1000, 0.4, LAX),), "lax"))
    (hit,) = gallery.search("default", embedding(0), count=1, thresholds=THRESHOLDS)
    assert (hit.subject_id, hit.codec_id) == ("lax", LAX)
    second = gallery.search("default", embedding(0), count=2, thresholds=THRESHOLDS)[1]
    assert second.subject_id.startswith("crowd")
    (hit,) = gallery.search("default", embedding(0), count=1)
    assert hit.subject_id.startswith("crowd")


def test_a_subject_is_found_by_the_face_that_matches_best(gallery: Gallery) -> None:
    faces = (looks_like_probe(1, 0.7, STRICT), looks_like_probe(2, 0.6, LAX))
    enrolled = gallery.enroll("default", Enrolment(faces, "both"))
    probe = embedding(0)
    (found,) = gallery.search("default", probe, count=1, thresholds=THRESHOLDS)
    verified = gallery.similarity_to_subject("default", "both", probe, thresholds=THRESHOLDS)
    for hit in (found, verified):
        assert hit.face_id == enrolled.faces[1].face_id
        assert (hit.codec_id, hit.similarity) == (LAX, pytest.approx(0.6, abs=1e-5))
    nearest = gallery.similarity_to_subject("default", "both", probe)
    assert nearest.face_id == enrolled.faces[0].face_id


def test_a_template_of_several_codecs_has_to_reach_what_the_strictest_asks(
    gallery: Gallery,
) -> None:
    gallery.collections.update("default", subject_score=SubjectScore.MEAN_TEMPLATE)
    lax = tuple(looks_like_probe(seed, 0.5, LAX) for seed in (1, 2))
    mixed = (looks_like_probe(3, 0.7, STRICT), looks_like_probe(4, 0.7, LAX))
    gallery.enroll("default", Enrolment(lax, "lax"))
    gallery.enroll("default", Enrolment(mixed, "mixed"))
    hits = gallery.search("default", embedding(0), count=2, thresholds=THRESHOLDS)
    assert [(hit.subject_id, hit.codec_id) for hit in hits] == [("lax", LAX), ("mixed", STRICT)]
    assert hits[0].similarity < hits[1].similarity
    alone = gallery.similarity_to_subject("default", "mixed", embedding(0), thresholds=THRESHOLDS)
    assert alone.codec_id == STRICT
    assert alone.similarity == pytest.approx(hits[1].similarity, abs=1e-5)
    unknown = Enrolment((*lax[:1], looks_like_probe(5, 0.5, UNKNOWN)), "unknown")
    gallery.enroll("default", unknown)
    alone = gallery.similarity_to_subject("default", "unknown", embedding(0), thresholds=THRESHOLDS)
    assert alone.codec_id == UNKNOWN


def test_a_face_without_a_threshold_is_not_passed_over(gallery: Gallery) -> None:
    """It might match: whoever decides must see it, to say that nothing can be said."""
    gallery.enroll("default", Enrolment((looks_like_probe(1, 0.8, STRICT),), "strict"))
    gallery.enroll("default", Enrolment((looks_like_probe(2, 0.4, UNKNOWN),), "unknown"))
    (hit,) = gallery.search("default", embedding(0), count=1, thresholds=THRESHOLDS)
    assert hit.subject_id == "unknown"


def test_a_duplicate_is_judged_by_the_codec_of_who_is_enrolled(gallery: Gallery) -> None:
    crowd(gallery, 3, cosine=0.5)
    gallery.enroll("default", Enrolment((looks_like_probe(1000, 0.4, LAX),), "lax"))
    again = Enrolment((new_face(0),), "again")
    with pytest.raises(AlreadyExists) as refused:
        gallery.enroll("default", again, duplicates={STRICT: THRESHOLDS})
    assert refused.value.metadata == {"subject_id": "lax"}
    gallery.subjects.delete("default", "lax")
    gallery.enroll("default", again, duplicates={STRICT: THRESHOLDS})


def test_a_duplicate_of_a_codec_that_nothing_is_known_of_is_not_decided(gallery: Gallery) -> None:
    gallery.enroll("default", Enrolment((looks_like_probe(1, 0.29, UNKNOWN),), "far"))
    gallery.enroll("default", Enrolment((new_face(0),), "first"), duplicates={STRICT: THRESHOLDS})
    gallery.enroll("default", Enrolment((looks_like_probe(2, 0.5, UNKNOWN),), "near"))
    with pytest.raises(FailedPrecondition) as refused:
        gallery.enroll(
            "default",
            Enrolment((new_face(0, embedding(0)),), "first"),
            duplicates={STRICT: THRESHOLDS},
        )
    assert refused.value.reason == "NOT_CALIBRATED"
    assert refused.value.metadata["enrolled_codec"] == UNKNOWN


@pytest.mark.parametrize("similarity", [-1.01, 1.01, float("nan")])
def test_an_impossible_threshold_is_refused(similarity: float) -> None:
    for make in (
        lambda: CodecThresholds(others=similarity),
        lambda: CodecThresholds({STRICT: similarity}),
    ):
        with pytest.raises(InvalidInput):
            make()
