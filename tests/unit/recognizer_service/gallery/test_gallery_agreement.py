"""How new faces go with earlier ones, and subjects scored by all of their faces."""

from collections.abc import Iterator

import numpy as np
import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from recognizer_service.gallery.types import Embedding, Enrolment, NewFace, SubjectScore
from tests.gallery_faces import SPACE, embedding, new_face, person


@pytest.fixture
def gallery(location: Location) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE) as opened:
        yield opened


def of(subject_id: str, *faces: NewFace) -> Enrolment:
    return Enrolment(faces, subject_id)


def looking(seed: int, vector: Embedding) -> NewFace:
    return new_face(seed, vector)


def mean(*vectors: Embedding) -> Embedding:
    total = np.sum(vectors, axis=0)
    return (total / np.linalg.norm(total)).astype(np.float32)


def test_a_single_face_has_nothing_to_agree_with(gallery: Gallery) -> None:
    assert gallery.enroll("default", person(1)).agreements == ()


def test_the_faces_of_a_first_enrolment_are_compared_with_each_other(gallery: Gallery) -> None:
    near = looking(2, embedding(2, like=1, cosine=0.7))
    enrolled = gallery.enroll("default", of("ann", new_face(1), near, new_face(3)))
    ids = [face.face_id for face in enrolled.faces]
    for agreement, face_id in zip(enrolled.agreements, ids, strict=True):
        assert agreement.face_id == face_id
        assert [other.face_id for other in agreement.others] == [x for x in ids if x != face_id]
    first, second, third = enrolled.agreements
    assert first.others[0].similarity == pytest.approx(0.7, abs=1e-5)
    assert first.others[0].similarity == second.others[0].similarity
    assert max(other.similarity for other in third.others) < 0.3


def test_each_new_face_is_compared_with_the_earlier_ones(gallery: Gallery) -> None:
    """And not with those that come with it."""
    before = gallery.enroll("default", of("ann", new_face(1), new_face(2))).faces
    alike = looking(3, embedding(3, like=2, cosine=0.7))
    other = looking(4, embedding(4, like=1, cosine=-0.2))
    enrolled = gallery.enroll("default", of("ann", alike, other, looking(5, alike.embedding)))
    first, second, third = (
        [other.similarity for other in item.others] for item in enrolled.agreements
    )
    assert first[1] == third[1] == pytest.approx(0.7, abs=1e-5)
    assert max(second) < 0.2
    assert [item.face_id for item in enrolled.agreements] == [
        face.face_id for face in enrolled.faces
    ]
    for item in enrolled.agreements:
        assert [other.face_id for other in item.others] == [face.face_id for face in before]


def test_a_repeated_request_agrees_as_the_first_time(gallery: Gallery) -> None:
    """Also when the subject has gained faces since."""
    gallery.enroll("default", of("ann", new_face(1)))
    second = of("ann", looking(2, embedding(2, like=1, cosine=0.5)))
    first = gallery.enroll("default", second, request_id="r")
    gallery.enroll("default", of("ann", looking(3, second.faces[0].embedding)))
    again = gallery.enroll("default", second, request_id="r")
    assert again.repeated
    assert again.agreements == first.agreements


def test_a_mean_template_lies_between_the_faces(gallery: Gallery) -> None:
    probe = mean(embedding(1), embedding(2))
    for name, score in (("best", SubjectScore.BEST_FACE), ("mean", SubjectScore.MEAN_TEMPLATE)):
        gallery.collections.create(name, subject_score=score)
        gallery.enroll(name, of("ann", new_face(1), new_face(2)))
    best, template = (gallery.search(name, probe, count=1)[0] for name in ("best", "mean"))
    assert best.similarity == pytest.approx(float(probe @ embedding(1)), abs=1e-3)
    assert template.similarity == pytest.approx(1, abs=1e-5)
    for name, hit in (("best", best), ("mean", template)):
        alone = gallery.similarity_to_subject(name, "ann", probe)
        assert alone.similarity == pytest.approx(hit.similarity, abs=1e-5)


def test_subjects_are_ordered_by_their_templates(gallery: Gallery) -> None:
    """One face like the probe beside one unlike it weighs less than two fair ones."""
    probe = embedding(0)
    lucky = of(
        "lucky",
        looking(1, embedding(1, like=0, cosine=0.9)),
        looking(2, embedding(2, like=0, cosine=-0.9)),
    )
    fair = of("fair", *(looking(s, embedding(s, like=0, cosine=0.6)) for s in (3, 4)))
    gallery.enroll("default", lucky)
    gallery.enroll("default", fair)
    ids = [hit.subject_id for hit in gallery.search("default", probe, count=2)]
    assert ids == ["lucky", "fair"]
    gallery.collections.update("default", subject_score=SubjectScore.MEAN_TEMPLATE)
    hits = gallery.search("default", probe, count=2)
    assert [hit.subject_id for hit in hits] == ["fair", "lucky"]
    assert hits[0].similarity > 0.6 > hits[1].similarity
