"""The split into training and held-out identities; all choices are made on the latter."""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.training.faces import UNLABELLED, Faces

HELD_OUT_SHARE = 0.20775
"""Share of the identities with two faces or more. An identity is held out by a hash of its name,
whatever other identities exist; this share includes the 600 that version 3 held out."""

# Strangers of one training set have teacher cosines below 0.4 except for one pair in 10,000.
LOOK_ALIKE_COSINE = 0.45
SAME_PERSON_COSINE = 0.6
NOBODY = -1
"""Label of faces whose identity is unknown or too rare to learn."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of `Faces` by use.

    Attributes:
        train: rows to train on, labelled or not.
        labels: class of every row of `Faces` that is a labelled training face, else NOBODY.
        classes: number of training classes.
        validation: rows of the held-out identities.
        held_out: names of the held-out identities, sorted.
    """

    train: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: int
    validation: npt.NDArray[np.int64]
    held_out: list[str]


def _templates(faces: Faces, owners: list[str], names: list[str]) -> npt.NDArray[np.float32]:
    index = {name: row for row, name in enumerate(names)}
    sums = np.zeros((len(names), faces.teacher.shape[2]), np.float32)
    for owner, embedding in zip(owners, faces.teacher[:, 0], strict=True):
        if owner in index:
            sums[index[owner]] += embedding
    unit: npt.NDArray[np.float32] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return unit


def _position(name: str) -> float:
    """A uniform, stable hash of an identity's name to [0, 1)."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) / 2**256


def split_faces(faces: Faces) -> Split:
    """Hold identities out by a hash of their name, and remove their look-alikes from training.

    Deterministic for the same faces and teacher. Held-out identities that look alike (one person
    under two labels) are dropped, not merged.
    """
    owners = faces.identities()
    counts = Counter(owners)
    candidates = [n for n, count in counts.items() if n != UNLABELLED and count >= 2]
    names = sorted(name for name in candidates if _position(name) < HELD_OUT_SHARE)

    templates = _templates(faces, owners, names)
    alike = templates @ templates.T - np.eye(len(names), dtype=np.float32)
    twins = {names[row] for row in np.nonzero(alike.max(1, initial=-1) > SAME_PERSON_COSINE)[0]}
    held_out = [name for name in names if name not in twins]

    reserved = set(names)
    near = (faces.teacher[:, 0] @ templates.T).max(1, initial=-1) > LOOK_ALIKE_COSINE
    outside = np.array([owner not in reserved for owner in owners])
    train = np.nonzero(outside & ~near)[0]

    in_training = Counter(owners[row] for row in train)
    people = sorted(n for n, count in in_training.items() if n != UNLABELLED and count >= 2)
    index = {name: label for label, name in enumerate(people)}
    labels = np.full(len(owners), NOBODY, np.int64)
    labels[train] = [index.get(owners[row], NOBODY) for row in train]
    kept = set(held_out)
    validation = np.array([row for row, owner in enumerate(owners) if owner in kept])
    return Split(train, labels, len(people), validation, held_out)
