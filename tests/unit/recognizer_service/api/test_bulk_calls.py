"""How enrolments in bulk are held up: by answers that nobody takes, and by a full queue."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from pathlib import Path
from typing import ParamSpec, TypeVar, cast
from unittest.mock import AsyncMock

import numpy as np
import pytest

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import ON_DUPLICATE_ALLOW, BulkEnrollRequest, EnrollRequest
from recognizer_service.api.bulk_calls import enroll_all
from recognizer_service.core.decide import Judge
from recognizer_service.core.enroll import Enroller
from recognizer_service.core.networks import EmbeddedMap, ModelInUse, Networks, OpenedMap
from recognizer_service.core.thresholds import Thresholds
from recognizer_service.core.types import FaceMap
from recognizer_service.gallery.gallery import Gallery
from shared.errors import Overloaded, Unavailable
from shared.model_directory import ModelDirectory
from tests.gallery_faces import SPACE, embedding

P = ParamSpec("P")
T = TypeVar("T")


class BusyNetworks:
    """Refuses so many times before it embeds; every face looks different."""

    space = SPACE

    def __init__(self, judge: Judge, error: Exception, *, refusals: int) -> None:
        self.judge = judge
        self._error = error
        self._refusals = refusals
        self._seed = 0

    def held(self) -> AbstractContextManager[None]:
        """As `Networks.held`."""
        return nullcontext()

    def check(self, count: int) -> None:
        """As `Networks.check`."""

    def enrollable(self, faces: Sequence[FaceMap], *, allow_low_quality: bool) -> list[OpenedMap]:
        """As `Networks.enrollable`."""
        del allow_low_quality
        return [OpenedMap(face, np.zeros(0, np.uint8)) for face in faces]

    def check_enrollable(self, maps: Sequence[OpenedMap], *, allow_low_quality: bool) -> None:
        """As `Networks.check_enrollable`."""

    async def embed(self, faces: Sequence[OpenedMap]) -> list[EmbeddedMap]:
        """As `Networks.embed`."""
        if self._refusals:
            self._refusals -= 1
            raise self._error
        self._seed += len(faces)
        return [
            EmbeddedMap(one.face, one.symbols, embedding(self._seed + position), 1.0)
            for position, one in enumerate(faces)
        ]


async def at_once(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return call(*args, **kwargs)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "gallery.sqlite", embedding_space=SPACE) as opened:
        yield opened


Busy = Callable[[Exception, int], Enroller]


@pytest.fixture
def busy(gallery: Gallery, tiny_model: ModelDirectory) -> Busy:
    """Makes an enroller whose networks raise the error so many times."""
    judge = Judge(Thresholds(tiny_model.manifest), min_quality=0)

    def make(error: Exception, refusals: int) -> Enroller:
        networks = cast("Networks", BusyNetworks(judge, error, refusals=refusals))
        return Enroller(
            gallery=gallery,
            model=ModelInUse(networks),
            identify_anew=AsyncMock(),
            in_thread=at_once,
            in_writer=at_once,
        )

    return make


def overloaded() -> Overloaded:
    return Overloaded("INFERENCE_QUEUE_FULL", "full", retry_after_s=0)


async def requests(count: int, read: list[int] | None = None) -> AsyncIterator[BulkEnrollRequest]:
    for number in range(count):
        if read is not None:
            read.append(number)
        yield BulkEnrollRequest(
            enroll=EnrollRequest(
                subject_id=f"person-{number}",
                maps=[CompactMap(codec_id="0" * 16, png=b"map")],
                on_duplicate=ON_DUPLICATE_ALLOW,
            )
        )


async def test_no_more_is_read_than_is_in_work(busy: Busy) -> None:
    enroller = busy(overloaded(), 0)
    read: list[int] = []
    async with aclosing(enroll_all(enroller, requests(500, read), caller="")) as answers:
        for taken in range(1, 60):
            await anext(answers)
            assert len(read) <= taken + 32
    assert len(read) < 100


async def test_a_full_queue_is_waited_for(busy: Busy) -> None:
    enroller = busy(overloaded(), 15)
    answers = [answer async for answer in enroll_all(enroller, requests(5), caller="")]
    assert [answer.response.subject.subject_id for answer in answers] == [
        f"person-{number}" for number in range(5)
    ]


async def test_a_queue_that_stays_full_fails_the_item(
    busy: Busy,
) -> None:
    enroller = busy(overloaded(), 10_000)
    (answer,) = [answer async for answer in enroll_all(enroller, requests(1), caller="")]
    assert answer.error.message == "full"


async def test_a_service_that_stops_ends_it(busy: Busy) -> None:
    enroller = busy(Unavailable("SHUTTING_DOWN", "bye"), 1)
    with pytest.raises(Unavailable):
        _ = [answer async for answer in enroll_all(enroller, requests(1), caller="")]
