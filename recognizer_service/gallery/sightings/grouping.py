"""Groups unknown sightings of one person, as they are identified.

A sighting joins the stranger it resembles most, if it reaches the threshold for more than half of
the faces compared; one lookalike among them is not enough, so that strangers do not merge along
chains of similar faces. Compared are the best faces of each of the strangers seen last, which
bounds the cost of a sighting whatever the collection holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select, update

from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.sightings.rows import retention_of
from recognizer_service.gallery.sightings.types import UnknownFace
from recognizer_service.gallery.storage.schema import collections, grouped, sightings, strangers
from recognizer_service.gallery.storage.spaces import vectors_of

MAX_STRANGERS = 512
"""Maximum number of strangers compared, those that a sighting joined last."""
MAX_FACES = 4
"""Maximum number of faces compared of each: the best of its latest."""
KEPT_VECTORS = 16
"""Number of latest sightings of a stranger from which the best are taken."""
_MOST_TRIED = 8  # strangers whose flaws are compared, too


@dataclass(frozen=True, slots=True)
class _Compared:
    """The faces of a stranger, N of them."""

    vectors: NDArray[np.float32]
    codecs: Sequence[str]
    maps: Sequence[bytes]


def group(
    connection: Connection,
    unknown: Mapping[int, UnknownFace],
    *,
    now: datetime,
    expiry: datetime,
) -> None:
    """Let unknown sightings join strangers, in the caller's transaction.

    Those of collections that do not group, and those grouped before, are left as they are.

    Args:
        connection: the transaction's connection.
        unknown: by key of the sighting, all in the space served.
        now: the time for new rows.
        expiry: the time by which sightings expire.
    """
    query = (
        select(
            sightings.c.key,
            sightings.c.collection_key,
            sightings.c.camera_id,
            sightings.c.captured_at,
            collections.c.max_stranger_fpir,
        )
        .join_from(sightings, collections)
        .where(sightings.c.key.in_(unknown), collections.c.max_stranger_fpir > 0)
        .where(~exists().where(grouped.c.sighting_key == sightings.c.key))
    )
    groupings: dict[int, _Grouping] = {}
    for row in connection.execute(query.order_by(sightings.c.key)).all():
        owner, face = row.collection_key, unknown[row.key]
        if owner not in groupings:
            kept_since = expiry - retention_of(connection, owner)
            groupings[owner] = _Grouping(connection, owner, face.space, kept_since)
        groupings[owner].place(row, face, now)


def leave(connection: Connection, keys: Sequence[int]) -> None:
    """Take sightings out of their groups: they are not unknown any more."""
    connection.execute(delete(grouped).where(grouped.c.sighting_key.in_(keys)))


class _Grouping:
    """The strangers of one collection, during one transaction."""

    def __init__(
        self, connection: Connection, owner: int, space: str, kept_since: datetime
    ) -> None:
        self._connection = connection
        self._owner = owner
        self._space = space
        self._kept_since = kept_since
        latest = (
            select(strangers.c.key)
            .where(strangers.c.collection_key == owner)
            .order_by(strangers.c.joined_at.desc(), strangers.c.key.desc())
            .limit(MAX_STRANGERS)
        )
        self._strangers = self._compared(grouped.c.stranger_key.in_(latest))

    def place(self, sighting: Any, face: UnknownFace, now: datetime) -> None:
        """Let a sighting join the stranger it shows, or be a new one."""
        stranger = self._find(sighting, face)
        if stranger is None:
            stranger = self._create(now)
        else:
            of_stranger = strangers.c.key == stranger
            self._connection.execute(update(strangers).where(of_stranger).values(joined_at=now))
        self._connection.execute(
            insert(grouped).values(
                sighting_key=sighting.key,
                stranger_key=stranger,
                quality=face.quality,
                space=face.space,
                vector=np.asarray(face.embedding, "<f4").tobytes(),
            )
        )
        self._drop_old_vectors(stranger)
        self._strangers |= self._compared(grouped.c.stranger_key == stranger)

    def _find(self, sighting: Any, face: UnknownFace) -> int | None:
        """Return the key of the stranger that a sighting shows; None if it is a new one."""
        if not self._strangers:
            return None
        count = sum(len(each.codecs) for each in self._strangers.values())
        thresholds = face.thresholds(sighting.max_stranger_fpir, count)
        similarities = np.concatenate([each.vectors for each in self._strangers.values()])
        cosines = iter((similarities @ face.embedding).tolist())
        found = []
        for key, each in self._strangers.items():
            margins = [_margin(thresholds, codec, next(cosines)) for codec in each.codecs]
            if _of_most(margins) >= 0:
                found.append((_of_most(margins), key, margins))
        for _, key, margins in sorted(found, reverse=True)[:_MOST_TRIED]:
            each = self._strangers[key]
            exact = [  # an allowance only raises a threshold
                margin - face.allowance(codec, png) if margin >= 0 else margin
                for margin, codec, png in zip(margins, each.codecs, each.maps, strict=True)
            ]
            if _of_most(exact) >= 0 and not self._in_picture(key, sighting):
                return key
        return None

    def _in_picture(self, stranger: int, sighting: Any) -> bool:
        """Return whether another face of the same picture shows the stranger."""
        if sighting.captured_at is None:
            return False
        same = (
            select(sightings.c.key)
            .join_from(sightings, grouped)
            .where(
                grouped.c.stranger_key == stranger,
                sightings.c.camera_id == sighting.camera_id,
                sightings.c.captured_at == sighting.captured_at,
            )
        )
        return self._connection.scalar(same.limit(1)) is not None

    def _create(self, now: datetime) -> int:
        number = self._connection.execute(
            update(collections)
            .where(collections.c.key == self._owner)
            .values(last_stranger=collections.c.last_stranger + 1)
            .returning(collections.c.last_stranger)
        ).scalar_one()
        row = {"collection_key": self._owner, "number": number, "joined_at": now}
        new = insert(strangers).values(row).returning(strangers.c.key)
        key: int = self._connection.execute(new).scalar_one()
        return key

    def _drop_old_vectors(self, stranger: int) -> None:
        """Keep the embeddings of the latest sightings, which outlive the others."""
        of_stranger = (grouped.c.stranger_key == stranger, grouped.c.vector.is_not(None))
        order = grouped.c.sighting_key.desc()
        old = select(grouped.c.sighting_key).where(*of_stranger).order_by(order)
        keys = self._connection.scalars(old.offset(KEPT_VECTORS)).all()
        if keys:
            no_vector = update(grouped).where(grouped.c.sighting_key.in_(keys))
            self._connection.execute(no_vector.values(space=None, vector=None))

    def _compared(self, chosen: ColumnElement[bool]) -> dict[int, _Compared]:
        """Return the faces to compare of some strangers, by stranger."""
        best = (func.coalesce(grouped.c.quality, 0).desc(), grouped.c.sighting_key.desc())
        rank = func.row_number().over(partition_by=grouped.c.stranger_key, order_by=best)
        ranked = (
            select(grouped.c.sighting_key, rank.label("rank"))
            .join_from(grouped, sightings)
            .where(chosen, grouped.c.space == self._space, sightings.c.stored_at > self._kept_since)
            .subquery()
        )
        query = (
            select(grouped.c.stranger_key, grouped.c.vector, sightings.c.codec_id, sightings.c.png)
            .join_from(grouped, sightings)
            .join(ranked, ranked.c.sighting_key == grouped.c.sighting_key)
            .where(ranked.c.rank <= MAX_FACES)
        )
        rows_of: dict[int, list[Any]] = {}
        for row in self._connection.execute(query):
            rows_of.setdefault(row.stranger_key, []).append(row)
        return {
            key: _Compared(
                vectors_of(rows), [row.codec_id for row in rows], [row.png for row in rows]
            )
            for key, rows in rows_of.items()
        }


def _margin(thresholds: CodecThresholds, codec_id: str, similarity: float) -> float:
    """Return how far a similarity exceeds its threshold; without calibration nothing matches."""
    return thresholds.margin(codec_id, similarity) if thresholds.knows(codec_id) else -np.inf


def _of_most(margins: Sequence[float]) -> float:
    """Return the margin that more than half of the faces reach."""
    return sorted(margins, reverse=True)[len(margins) // 2]
