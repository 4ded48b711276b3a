"""What is decided where thresholds differ from codec to codec."""

import numpy as np
import pytest

from recognizer_service.core.decide import Judge
from recognizer_service.core.thresholds import Thresholds
from recognizer_service.core.types import (
    Criterion,
    Decision,
    Disagreement,
    Doubt,
    FaceMap,
    Identification,
    Impostor,
    Timings,
    Verification,
)
from recognizer_service.gallery.types import (
    Agreement,
    Collection,
    FaceReview,
    Resemblance,
    SubjectHit,
)
from shared.errors import FailedPrecondition
from shared.inference.quality_head import Judged
from shared.model_directory import CrowdConfig, Manifest, ModelDirectory
from tests.tiny_model import synthetic_table
from tests.tiny_quality import HEAD
from tests.unit.recognizer_service.core.one_face import ONE_FACE

UNKNOWN = "f" * 16


@pytest.fixture
def coarse(tiny_model: ModelDirectory) -> str:
    """The codec of most probes; at FMR 1e-2 it asks for 0.50 against itself."""
    return tiny_model.codec("standard").codec_id


@pytest.fixture
def fine(tiny_model: ModelDirectory) -> str:
    """0.40 against the coarse one, and 0.45 against itself."""
    return tiny_model.codec("paper").codec_id


@pytest.fixture
def manifest(tiny_model: ModelDirectory, coarse: str, fine: str) -> Manifest:
    tables = (
        synthetic_table(coarse, coarse, lowered_by=-0.1),
        synthetic_table(coarse, fine),
        synthetic_table(fine, fine, lowered_by=-0.05),
    )
    return tiny_model.manifest.model_copy(update={"calibration": tables})


@pytest.fixture
def judge(manifest: Manifest) -> Judge:
    return Judge(Thresholds(manifest), min_quality=0.2)


def hit(subject_id: str, codec_id: str, similarity: float) -> SubjectHit:
    return SubjectHit(subject_id, "", f"face of {subject_id}", codec_id, similarity)


def answer(
    judge: Judge, codec_id: str, *hits: SubjectHit, criterion: Criterion | None = None
) -> Identification:
    face = FaceMap(codec_id, b"", 0.9)
    return judge.identification(
        face,
        hits,
        criterion or Criterion(),
        ONE_FACE,
        Timings(),
        count=len(hits),
        enrolled=lambda _: None,
    )


def dark(codec_id: str, share: float) -> FaceMap:
    """A face whose darkness raises the threshold against faces as dark by 0.3."""
    parts, spread = np.array([[share]], np.float32), np.array([0.3, 0, 0], np.float32)
    judged = Judged(np.ones(1, np.float32), parts, spread, ("dark",))
    return FaceMap(codec_id, b"", 1.0, judged=judged)


def shown(identification: Identification) -> list[tuple[str, bool]]:
    return [(found.hit.subject_id, found.matched) for found in identification.candidates]


def test_a_threshold_is_eased_where_both_faces_are_judged(
    manifest: Manifest, coarse: str, fine: str
) -> None:
    """Thresholds follow faces that resemble many only where nothing tells who does."""
    crowd = CrowdConfig(scale=HEAD.scale, spread=0.2, eased=((1e-2, 0.05),))
    quality = {"standard": HEAD.model_copy(update={"crowd": crowd})}
    judge = Judge(Thresholds(manifest.model_copy(update={"quality": quality})), min_quality=0.2)
    face = dark(coarse, 0.5)
    hits = [hit(name, coarse, 0.48) for name in ("unknown", "light", "dark")]
    others = {"unknown": None, "light": dark(coarse, 0), "dark": dark(coarse, 1)}
    found = judge.identification(
        face,
        hits,
        Criterion(),
        ONE_FACE,
        Timings(),
        count=3,
        enrolled=lambda found: others[found.subject_id],
    )
    thresholds = {each.hit.subject_id: each.threshold.similarity for each in found.candidates}
    assert thresholds == pytest.approx({"light": 0.45, "unknown": 0.5, "dark": 0.45 + 0.15})
    assert shown(found)[0] == ("light", True)

    def verified(other: str) -> Verification:
        reference = dark(other, 0)
        return judge.verification(
            [face, reference],
            0.47,
            Criterion(max_rate=1e-2),
            ONE_FACE,
            Timings(),
            codecs=(coarse, other),
            reference=reference,
        )

    assert verified(coarse).threshold.similarity == pytest.approx(0.45)
    assert 1e-3 < (verified(coarse).estimated_fmr or 1) < 1e-2
    # The head of the other codec says nothing of crowds.
    assert verified(fine).threshold.similarity == pytest.approx(0.40)


def test_who_exceeds_the_threshold_matches_though_another_is_more_similar(
    judge: Judge, coarse: str, fine: str
) -> None:
    found = answer(judge, coarse, hit("a", coarse, 0.498), hit("b", fine, 0.490))
    assert found.decision is Decision.MATCH
    assert shown(found) == [("b", True), ("a", False)]


def test_the_threshold_of_an_answer_is_that_of_its_first_candidate(
    judge: Judge, coarse: str, fine: str
) -> None:
    found = answer(judge, coarse, hit("a", coarse, 0.498), hit("b", fine, 0.490))
    assert found.threshold
    assert found.threshold.similarity == pytest.approx(0.40)
    thresholds = [candidate.threshold.similarity for candidate in found.candidates]
    assert thresholds == pytest.approx([0.40, 0.50])


def test_who_is_least_below_the_threshold_comes_first_where_nobody_matches(
    judge: Judge, coarse: str, fine: str
) -> None:
    found = answer(judge, coarse, hit("a", coarse, 0.45), hit("b", fine, 0.39))
    assert found.decision is Decision.NO_MATCH
    assert shown(found) == [("b", False), ("a", False)]
    assert found.threshold
    assert found.threshold.similarity == pytest.approx(0.40)


def test_a_similarity_asked_for_is_the_same_for_all_codecs(
    judge: Judge, coarse: str, fine: str
) -> None:
    found = answer(
        judge,
        coarse,
        hit("a", coarse, 0.498),
        hit("b", fine, 0.490),
        criterion=Criterion(min_similarity=0.495),
    )
    assert shown(found) == [("a", True), ("b", False)]


def test_reaching_the_threshold_is_enough(judge: Judge, coarse: str) -> None:
    exactly = answer(judge, coarse, hit("a", coarse, 0.0)).candidates[0].threshold.similarity
    assert answer(judge, coarse, hit("a", coarse, exactly)).decision is Decision.MATCH


def test_a_hit_of_a_codec_without_calibration_leaves_nothing_to_say(
    judge: Judge, coarse: str
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        answer(judge, coarse, hit("a", coarse, 0.7), hit("b", UNKNOWN, 0.6))
    assert caught.value.reason == "NOT_CALIBRATED"


def test_searches_go_by_the_thresholds_of_the_probes_codec(
    judge: Judge, coarse: str, fine: str
) -> None:
    for probe, expected in ((coarse, (0.50, 0.40)), (fine, (0.40, 0.45))):
        for found in (
            judge.identification_thresholds(FaceMap(probe, b""), Criterion(), ONE_FACE),
            judge.verification_thresholds(FaceMap(probe, b""), Criterion(), ONE_FACE, faces=1),
            judge.duplicate_thresholds([FaceMap(probe, b"")], ONE_FACE)[probe],
        ):
            assert (found.of_codec[coarse], found.of_codec[fine]) == pytest.approx(expected)
            assert not found.knows(UNKNOWN)


def test_a_search_of_more_faces_asks_for_more(judge: Judge, coarse: str) -> None:
    face = FaceMap(coarse, b"")
    one = judge.verification_thresholds(face, Criterion(), ONE_FACE, faces=1)
    ten = judge.verification_thresholds(face, Criterion(), ONE_FACE, faces=10)
    assert ten.of_codec[coarse] > one.of_codec[coarse] + 0.1


def test_duplicates_of_a_codec_without_calibration_are_not_judged(
    judge: Judge, coarse: str
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        judge.duplicate_thresholds([FaceMap(coarse, b""), FaceMap(UNKNOWN, b"")], ONE_FACE)
    assert caught.value.reason == "NOT_CALIBRATED"


def new(face_id: str, codec_id: str, *others: Resemblance) -> Agreement:
    return Agreement(face_id, codec_id, others)


def test_warnings_and_duplicates_allow_for_strangers_who_resemble_each_other(
    manifest: Manifest, coarse: str
) -> None:
    head = HEAD.model_copy(update={"resembling": 0.05})
    resembling = manifest.model_copy(update={"quality": {"standard": head}})
    judge = Judge(Thresholds(resembling), min_quality=0.2)
    found = judge.duplicate_thresholds([FaceMap(coarse, b"")], ONE_FACE)
    assert found[coarse].of_codec[coarse] == pytest.approx(0.55)
    agreement = Agreement("new", coarse, (Resemblance("old", coarse, 0.52),))
    assert judge.disagreements([agreement], ONE_FACE) == (
        Disagreement("new", pytest.approx(0.52), pytest.approx(0.55)),
    )


def test_a_new_face_agrees_if_it_does_with_the_codec_of_one_earlier_face(
    judge: Judge, coarse: str, fine: str
) -> None:
    """At FMR 1 - 0.99 ** 0.5 a little more is asked than at 1e-2."""
    near, less = Resemblance("x", coarse, 0.52), Resemblance("y", fine, 0.50)
    assert judge.disagreements([new("n", coarse, near, less)], ONE_FACE) == ()
    (doubt,) = judge.disagreements([new("n", coarse, near)], replaced(max_fmr=1e-3))
    assert (doubt.face_id, doubt.similarity) == ("n", 0.52)
    assert doubt.threshold == pytest.approx(0.70)


def replaced(**changes: float) -> Collection:
    return Collection(**{name: getattr(ONE_FACE, name) for name in Collection.__slots__} | changes)


def test_without_calibration_nothing_is_in_doubt(judge: Judge, coarse: str) -> None:
    earlier = new("n", coarse, Resemblance("x", UNKNOWN, -0.5))
    assert judge.disagreements([earlier], ONE_FACE) == ()
    together = [
        new("a", UNKNOWN, Resemblance("b", UNKNOWN, -0.5)),
        new("b", UNKNOWN, Resemblance("a", UNKNOWN, -0.5)),
    ]
    assert judge.disagreements(together, ONE_FACE) == ()


def enrolled_together(codec_id: str, *alike: str) -> list[Agreement]:
    """Faces named by letters; those of one word are at cosine 0.9, all others at 0.1."""

    def cosine(one: str, other: str) -> float:
        return 0.9 if any(one in word and other in word for word in alike) else 0.1

    faces = "".join(dict.fromkeys("".join(alike)))
    return [
        new(
            face,
            codec_id,
            *(
                Resemblance(other, codec_id, cosine(face, other))
                for other in faces
                if other != face
            ),
        )
        for face in faces
    ]


@pytest.mark.parametrize(
    ("alike", "doubtful"),
    [
        (("abc",), ""),
        (("ab", "c"), "c"),
        (("a", "bc"), "a"),
        (("a", "b"), "b"),  # nobody knows who of the two it is: the first is believed
        (("ab", "cd"), "cd"),
        (("ab", "cde"), "ab"),
        (("a", "b", "c"), "bc"),
        (("ab", "bc", "cd"), ""),  # by way of others
        (("a",), ""),
    ],
)
def test_of_faces_enrolled_together_those_outside_the_largest_group_are_in_doubt(
    judge: Judge, fine: str, alike: tuple[str, ...], doubtful: str
) -> None:
    agreements = enrolled_together(fine, *alike)
    found = judge.disagreements(agreements, ONE_FACE)
    assert "".join(doubt.face_id for doubt in found) == doubtful
    for doubt in found:
        assert doubt == Disagreement(doubt.face_id, 0.1, doubt.threshold)
        assert doubt.threshold > 0.1


@pytest.mark.parametrize(
    ("count", "expected", "looked_at"),
    [
        (1, ["light"], ["dark", "light"]),
        (2, ["light", "grey"], ["dark", "light", "grey"]),
        (4, ["light", "grey", "dark", "far"], ["dark", "light", "grey", "far"]),
    ],
)
def test_faces_are_judged_only_while_that_can_change_the_best(
    judge: Judge, coarse: str, count: int, expected: list[str], looked_at: list[str]
) -> None:
    darkness = {"dark": 1.0, "light": 0.0, "grey": 0.5, "far": 0.0}
    similarity = {"dark": 0.9, "light": 0.85, "grey": 0.84, "far": 0.5}
    judged: list[str] = []

    def enrolled(found: SubjectHit) -> FaceMap:
        judged.append(found.subject_id)
        return dark(coarse, darkness[found.subject_id])

    hits = [hit(name, coarse, cosine) for name, cosine in similarity.items()]
    answer = judge.identification(
        dark(coarse, 1.0), hits, Criterion(), ONE_FACE, Timings(), count=count, enrolled=enrolled
    )
    assert [found.hit.subject_id for found in answer.candidates] == expected
    assert judged == looked_at


@pytest.mark.parametrize(
    ("others", "exceeded"),
    [
        ({"light": 0.29}, False),
        ({"light": 0.31}, True),
        ({"dark": 0.59}, False),  # both photographs are dark
        ({"dark": 0.61}, True),
        ({"dark": 0.59, "light": 0.31}, True),
    ],
)
def test_a_stranger_is_close_by_the_threshold_of_fpir_10_percent(
    judge: Judge, coarse: str, others: dict[str, float], *, exceeded: bool
) -> None:
    hits = [hit(name, coarse, cosine) for name, cosine in {"best": 0.9, **others}.items()]
    answer = judge.identification(
        dark(coarse, 1.0),
        hits,
        Criterion(),
        ONE_FACE,
        Timings(),
        count=1,
        enrolled=lambda found: dark(coarse, float(found.subject_id == "dark")),
    )
    assert answer.impostor == Impostor(exceeded, expected=0.1, runner_up=True)


@pytest.mark.parametrize("hits", [0, 1])
@pytest.mark.parametrize(("quality", "checked"), [(0.9, True), (None, False)])
def test_an_answer_tells_of_its_probe(
    judge: Judge, coarse: str, hits: int, quality: float | None, *, checked: bool
) -> None:
    probe, timings = FaceMap(coarse, b"", quality), Timings()
    found = judge.identification(
        probe,
        [hit("ada", coarse, 0.9)] * hits,
        Criterion(),
        ONE_FACE,
        timings,
        count=1,
        enrolled=lambda _: None,
    )
    assert found.decision is (Decision.MATCH if hits else Decision.EMPTY_GALLERY)
    assert found.probe is probe
    assert found.timings is timings
    assert found.quality_checked is checked


@pytest.mark.parametrize(
    ("quality", "decision"), [(0.19, Decision.LOW_QUALITY), (0.2, Decision.MATCH)]
)
def test_the_least_quality_is_enough(
    judge: Judge, coarse: str, quality: float, decision: Decision
) -> None:
    face = FaceMap(coarse, b"", quality)
    found = judge.verification(
        [face], 0.9, Criterion(), ONE_FACE, Timings(), codecs=(coarse, coarse)
    )
    assert found.decision is decision


def test_a_review_doubts_look_alikes_and_faces_unlike_their_own(
    judge: Judge, coarse: str, fine: str
) -> None:
    own = Resemblance("own", coarse, 0.9)
    look_alike = FaceReview(
        new("alike", coarse, own),
        (hit("twin", coarse, 0.5), hit("niece", fine, 0.4), hit("stranger", coarse, 0.49)),
    )
    unlike = FaceReview(new("unlike", coarse, Resemblance("own", coarse, 0.49)), ())
    fine_with_own = FaceReview(new("own", coarse, own), (hit("other", UNKNOWN, 0.99),))
    doubts = judge.doubts([look_alike, unlike, fine_with_own], ONE_FACE)
    assert doubts == (
        Doubt("alike", "twin", "face of twin", 0.5, pytest.approx(0.5)),
        Doubt("alike", "niece", "face of niece", 0.4, pytest.approx(0.4)),
        Doubt("unlike", "", "own", 0.49, pytest.approx(0.5)),
    )


def test_a_review_asks_more_in_a_larger_collection_and_of_more_faces(
    judge: Judge, coarse: str
) -> None:
    review = FaceReview(
        new("n", coarse, Resemblance("own", coarse, 0.55)), (hit("x", coarse, 0.55),)
    )
    many = replaced(face_count=1000)
    assert [doubt.other_subject_id for doubt in judge.doubts([review], ONE_FACE)] == ["x"]
    assert judge.doubts([review], many) == ()
    strict = replaced(max_fmr=1e-3)
    assert [doubt.other_subject_id for doubt in judge.doubts([review], strict)] == ["x", ""]
