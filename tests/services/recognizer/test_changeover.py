"""A running service changes over to another model: nobody waits, and nobody is lost."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    ON_DUPLICATE_ALLOW,
    DeleteSubjectRequest,
    GetCollectionRequest,
    ReembedRequest,
    ReembedResponse,
)
from compactface.v1.recognizer_pb2 import EmbedRequest, EmbedResponse, GetRecognizerInfoRequest
from recognizer_service.core.networks import Networks
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.reembed import Progress
from shared.errors import FailedPrecondition, InvalidModel
from shared.model_directory import ModelDirectory, set_current
from shared.model_directory.signature import sign
from tests.gallery_faces import person
from tests.keys import signing_keys
from tests.services.asking import enroll, enroll_all, face_of, identify, verify
from tests.services.hosting import Service, failure, running_recognizer
from tests.tiny_model import FAMILY, write_tiny_model

pytestmark = pytest.mark.asyncio(loop_scope="session")

Serve = Callable[[], AbstractAsyncContextManager[Service]]


@pytest.fixture(scope="module")
def all_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2 with one codec and different extractors; version 3 with another codec."""
    models = tmp_path_factory.mktemp("models")
    for version, seed, extractor_seed in (("3", 3, 3), ("2", 1, 2), ("1", 1, 1)):
        scratch = tmp_path_factory.mktemp("scratch")
        write_tiny_model(models, scratch, version=version, seed=seed, extractor_seed=extractor_seed)
    return models


@pytest.fixture
def models(all_models: Path) -> Path:
    """With version 1 as the current one."""
    set_current(all_models, FAMILY, "1")
    return all_models


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.fixture
def serve(models: Path, gallery: Path) -> Serve:
    """Starts the service."""
    return lambda: running_recognizer(models, gallery)


async def ask(service: Service) -> ReembedResponse:
    answer: ReembedResponse = await service.gallery.Reembed(ReembedRequest())
    return answer


async def changed_over(service: Service) -> ReembedResponse:
    async with asyncio.timeout(60):
        while not (answer := await ask(service)).done:  # noqa: ASYNC110 - it is the call that is tested
            await asyncio.sleep(0.02)
    return answer


async def version_of(service: Service) -> str:
    info = await service.recognizer.GetRecognizerInfo(GetRecognizerInfoRequest())
    return str(info.model_version)


async def assert_known(service: Service, faces: list[CompactMap], number: int) -> None:
    """The service finds the subject of a face, with the face itself as the probe."""
    found = await identify(service, "", faces[number], min_similarity=0.99)
    assert found.candidates[0].subject_id == f"person-{number}"
    assert found.candidates[0].matched


async def test_a_service_that_serves_the_current_model_has_nothing_to_do(
    serve: Serve, models: Path
) -> None:
    async with serve() as service:
        await enroll_all(service, "", [face_of(models, 1)])
        answer = await ask(service)
        assert (answer.faces_done, answer.faces_total, answer.done) == (1, 1, True)


async def test_another_calibration_is_checked_by_new_probes(serve: Serve, models: Path) -> None:
    async def probes(service: Service) -> int:
        answer = await service.gallery.GetCollection(GetCollectionRequest())
        return int(answer.collection.calibration_check.probes)

    faces = [face_of(models, seed) for seed in range(2)]
    async with serve() as service:
        await enroll_all(service, "", faces)
        await identify(service, "", faces[0])
        assert await probes(service) == 1
        set_current(models, FAMILY, "2")
        await changed_over(service)
        assert await probes(service) == 0
        await identify(service, "", faces[0])
        assert await probes(service) == 1


async def test_questions_are_answered_throughout_the_change(serve: Serve, models: Path) -> None:
    """Each finds its subject, whichever model embeds the probe; so do those enrolled meanwhile."""
    faces = [face_of(models, seed) for seed in range(200)]
    asked = {"1": 0, "2": 0}
    async with serve() as service:
        await enroll_all(service, "", faces[:150])
        set_current(models, FAMILY, "2")
        assert not (await ask(service)).done
        newest = 149
        while asked["2"] < 20:
            version = await version_of(service)
            if newest < 199 and version == "1":
                newest += 1
                await enroll(
                    service,
                    "",
                    f"person-{newest}",
                    faces[newest],
                    on_duplicate=ON_DUPLICATE_ALLOW,
                )
            await assert_known(service, faces, newest if sum(asked.values()) % 2 else newest // 2)
            await verify(service, "", faces[newest], f"person-{newest}", min_similarity=0.99)
            asked[version] += 1
        assert asked["1"] > 3
        answer = await changed_over(service)
        assert answer.faces_done == answer.faces_total == newest + 1
        for number in range(newest + 1):
            await assert_known(service, faces, number)


async def test_a_burst_of_questions_meets_the_swap(serve: Serve, models: Path) -> None:
    """Many in flight at every moment of it; none fails and none compares two spaces."""
    faces = [face_of(models, seed) for seed in range(40)]
    async with serve() as service:
        await enroll_all(service, "", faces)
        set_current(models, FAMILY, "2")
        await ask(service)
        while await version_of(service) == "1":
            await asyncio.gather(*(assert_known(service, faces, n) for n in range(0, 40, 2)))
        await asyncio.gather(*(assert_known(service, faces, n) for n in range(40)))


async def test_an_enrolment_that_began_before_the_swap_ends_after_it(
    serve: Serve, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old networks stay open for it between its steps."""
    faces = [face_of(models, seed) for seed in range(2)]
    parsed, swapped = threading.Event(), threading.Event()
    parse = Networks.enrollable

    def slowly(networks: Networks, *maps: Any, **options: Any) -> Any:
        found = parse(networks, *maps, **options)
        parsed.set()
        assert swapped.wait(30)
        return found

    async with serve() as service:
        await enroll_all(service, "", faces[:1])
        monkeypatch.setattr(Networks, "enrollable", slowly)
        enrolling = asyncio.create_task(enroll(service, "", "person-1", faces[1]))
        assert await asyncio.to_thread(parsed.wait, 30)
        set_current(models, FAMILY, "2")
        await ask(service)
        async with asyncio.timeout(30):
            while await version_of(service) == "1":  # noqa: ASYNC110 - as in `changed_over`
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # time to close what nobody holds
        swapped.set()
        await enrolling
        await assert_known(service, faces, 1)


async def test_embeddings_are_of_the_new_model_after_the_change(serve: Serve, models: Path) -> None:
    face = face_of(models, 1)
    async with serve() as service:
        before: EmbedResponse = await service.recognizer.Embed(EmbedRequest(map=face))
        set_current(models, FAMILY, "2")
        await changed_over(service)
        after: EmbedResponse = await service.recognizer.Embed(EmbedRequest(map=face))
        assert before.embedding_space != after.embedding_space
        assert np.dot(before.embedding, after.embedding) < 0.9


async def test_who_is_deleted_during_the_change_stays_deleted(serve: Serve, models: Path) -> None:
    faces = [face_of(models, seed) for seed in range(100)]
    async with serve() as service:
        await enroll_all(service, "", faces)
        set_current(models, FAMILY, "2")
        await ask(service)
        request = DeleteSubjectRequest(subject_id="person-99")
        request.erasure_wait.seconds = 30
        assert (await service.gallery.DeleteSubject(request)).erased
        await changed_over(service)
        found = await identify(service, "", faces[99], min_similarity=0.99)
        assert found.candidates[0].subject_id != "person-99"
        answer = await service.gallery.GetCollection(GetCollectionRequest())
        assert answer.collection.face_count == 99


async def test_a_service_that_starts_with_a_new_model_serves_the_old_one_meanwhile(
    serve: Serve, models: Path, gallery: Path
) -> None:
    """It goes on with what was embedded before it was stopped."""
    faces = [face_of(models, seed) for seed in range(150)]
    async with serve() as service:
        await enroll_all(service, "", faces)
        set_current(models, FAMILY, "2")
        await ask(service)
        while not (await ask(service)).faces_done:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    half_way = progress_of(gallery, models)
    assert 0 < half_way.faces_done <= 150
    async with serve() as service:
        await assert_known(service, faces, 7)
        await changed_over(service)
        assert await version_of(service) == "2"
        await assert_known(service, faces, 7)


def progress_of(gallery: Path, models: Path) -> Progress:
    """How far the file is with version 2."""
    spaces = [
        ModelDirectory.load(models, FAMILY, version).manifest.embedding_space
        for version in ("1", "2")
    ]
    with Gallery(gallery, embedding_space=spaces[0]) as opened:
        return opened.spaces.progress(spaces[1])


async def test_maps_of_a_codec_that_the_new_model_lacks_are_decoded_by_the_old_one(
    serve: Serve, models: Path
) -> None:
    async with serve() as service:
        await enroll_all(service, "", [face_of(models, seed) for seed in range(5)])
        set_current(models, FAMILY, "3")
        answer = await changed_over(service)
        assert (answer.faces_done, answer.faces_total) == (5, 5)
        error = await failure(identify(service, "", face_of(models, 1)))
        assert error.reason == "UNKNOWN_CODEC"


async def test_a_change_that_fails_says_why_and_the_old_model_serves_on(
    serve: Serve, models: Path, gallery: Path
) -> None:
    """One stored map of a codec that no version has."""
    faces = [face_of(models, 0)]
    async with serve() as service:
        await enroll_all(service, "", faces)
    enroll_stranger(gallery, models)
    async with serve() as service:
        set_current(models, FAMILY, "2")
        await ask(service)
        error = await failure(changed_over(service))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "UNKNOWN_CODEC")
        await assert_known(service, faces, 0)
        assert not (await ask(service)).done  # and tries again


def enroll_stranger(gallery: Path, models: Path) -> None:
    space = ModelDirectory.load(models, FAMILY, "1").manifest.embedding_space
    with Gallery(gallery, embedding_space=space) as opened:
        opened.enroll("default", person(5))


async def test_a_gallery_of_a_model_that_is_gone_is_not_served(serve: Serve, gallery: Path) -> None:
    with Gallery(gallery, embedding_space="0123456789abcdef") as opened:
        opened.enroll("default", person(1))
    with pytest.raises(FailedPrecondition, match="0123456789abcdef") as refused:
        async with serve():
            pass
    assert refused.value.reason == "EMBEDDING_SPACE_MISMATCH"


async def test_a_model_that_is_not_signed_is_not_served(
    all_models: Path, gallery: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(all_models, models)
    set_current(models, FAMILY, "1")
    own, public = signing_keys(tmp_path)
    with pytest.raises(InvalidModel, match=r"has no manifest\.sig"):
        async with running_recognizer(models, gallery, model_public_key=public):
            pass
    sign(ModelDirectory.load(models, FAMILY, "1"), own)
    async with running_recognizer(models, gallery, model_public_key=public) as service:
        faces = [face_of(models, 1)]
        await enroll_all(service, "", faces)
        set_current(models, FAMILY, "2")
        await ask(service)
        error = await failure(changed_over(service))
        assert error.reason == "MODEL_NOT_SIGNED"
        await assert_known(service, faces, 0)
        sign(ModelDirectory.load(models, FAMILY, "2"), own)
        await changed_over(service)
        assert await version_of(service) == "2"
