"""The arithmetic of evaluation: accuracy over folds, TAR at FAR, and which pairs are compared."""

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.evaluation.lfw_files import parse_pairs
from shared.evaluation.protocol import decide, tar_at_far
from shared.evaluation.validation import balanced_pairs


def test_separable_pairs_are_all_told_right() -> None:
    same = np.tile([True, False], 50)
    assert decide(np.where(same, 0.8, 0.1), same, folds=10).right.all()


def test_a_fold_has_no_say_in_its_own_threshold() -> None:
    """One fold whose similarities are shifted up would be perfect with a threshold of its own."""
    same = np.tile([True, False], 50)
    similarities = np.where(same, 0.6, 0.1)
    similarities[:10] += 0.9
    assert decide(similarities, same, folds=10).of_folds.tolist() == [0.5] + [1.0] * 9


def test_unequal_folds_and_ties_are_counted_exactly() -> None:
    """Genuine 3, 2, 1 and impostor 2, 1, 0 in each half: the best threshold errs on 2 of 6."""
    similarities = np.tile([3.0, 2.0, 1.0, 2.0, 1.0, 0.0], 2)
    same = np.tile([True, True, True, False, False, False], 2)
    assert decide(similarities, same, folds=2).of_folds == pytest.approx([4 / 6, 4 / 6])


def test_one_fold_leaves_nothing_to_choose_a_threshold_on() -> None:
    with pytest.raises(ValueError, match="1 folds; at least 2"):
        decide(np.array([0.1, 0.9]), np.array([False, True]), folds=1)


@pytest.mark.parametrize(("far", "expected"), [(0.1, 0.5), (0.2, 0.75), (0.05, 0.25)])
def test_tar_counts_genuine_pairs_above_the_impostors_that_must_be_refused(
    far: float, expected: float
) -> None:
    impostors = np.arange(10) / 10  # 0.9 is the largest
    genuine = np.array([0.75, 0.85, 0.95, 0.5])
    similarities = np.concatenate([impostors, genuine])
    same = np.arange(14) >= 10
    assert tar_at_far(similarities, same, far=far) == expected


def test_official_pairs_are_read_in_both_forms() -> None:
    (fold,) = parse_pairs("1\t1\nAda\t1\t4\nAda\t2\tBo_Li\t13\n")
    assert (fold[0].first, fold[0].second, fold[0].same) == (
        "Ada/Ada_0001.jpg",
        "Ada/Ada_0004.jpg",
        True,
    )
    assert (fold[1].first, fold[1].second, fold[1].same) == (
        "Ada/Ada_0002.jpg",
        "Bo_Li/Bo_Li_0013.jpg",
        False,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a list of pairs"),
        ("1\t1\nAda\t1\t2\n", "holds 1 pairs; its first line promises 1 folds of 2"),
        ("1\t1\nAda\t1\nAda\t1\t2\n", "a line of 2 fields"),
        ("1\t1\nAda\tone\t2\nAda\t1\tBo\t1\n", "not a list of pairs"),
    ],
)
def test_a_damaged_list_of_pairs_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refusal:
        parse_pairs(text)
    assert refusal.value.reason == "INVALID_PAIRS"


def test_balanced_pairs_draw_people_rather_than_photographs() -> None:
    """One of 21 people has 50 photographs, so all but 20 of the genuine pairs are of that one."""
    identities = np.concatenate([np.repeat(np.arange(20), 2), np.full(50, 20)])
    pairs = balanced_pairs(identities, count=80)
    assert np.array_equal(identities[pairs.first] == identities[pairs.second], pairs.same)
    assert pairs.same.reshape(10, -1).sum(axis=1).tolist() == [4] * 10
    genuine = np.sort(np.stack([pairs.first, pairs.second], axis=1)[pairs.same], axis=1)
    assert len(np.unique(genuine, axis=0)) == 40
    assert set(identities[genuine[:, 0]]) == set(range(21))
    prolific = np.mean(identities[pairs.first[~pairs.same]] == 20)
    assert prolific < 0.25


def test_pairs_depend_on_nothing_but_the_seed() -> None:
    identities = np.repeat(np.arange(30), 3)
    one, again = (balanced_pairs(identities, count=60, seed=7) for _ in range(2))
    other = balanced_pairs(identities, count=60, seed=8)
    assert np.array_equal(one.first, again.first)
    assert np.array_equal(one.second, again.second)
    assert not np.array_equal(one.first, other.first)


def test_pairs_of_turned_heads_differ_by_the_yaw_that_is_asked() -> None:
    identities = np.repeat(np.arange(30), 4)
    yaw = np.tile(np.array([0, 5, 30, -15], np.float32), 30)

    pairs = balanced_pairs(identities, count=100, yaw=yaw, turned=40)

    assert (np.abs(yaw[pairs.first] - yaw[pairs.second]) >= 40).all()
    assert np.array_equal(identities[pairs.first] == identities[pairs.second], pairs.same)
    assert (len(pairs.same), pairs.same.sum()) == (60, 30)  # one genuine pair a person


def test_turned_heads_of_one_person_alone_are_refused() -> None:
    """Only person 0 turns far, by 20 to each side; nobody else is 40 degrees from there."""
    identities = np.repeat(np.arange(10), 10)
    yaw = np.where(identities == 0, np.tile([-20, 20], 50), 0).astype(np.float32)

    with pytest.raises(ValueError, match="draws give 0 impostor pairs"):
        balanced_pairs(identities, count=40, yaw=yaw, turned=40)


def test_pairs_of_too_few_photographs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 people make 1 genuine pairs"):
        balanced_pairs(np.array([0, 0, 1]), count=6000)
