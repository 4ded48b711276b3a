"""A real service moves to somebody else's extractor of 128 numbers, and back; no photograph."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from command_line.main import app
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import (
    ON_DUPLICATE_ALLOW,
    ExportRequest,
    ImportRequest,
    ReembedRequest,
)
from compactface.v1.recognizer_pb2 import (
    VERIFY_DECISION_MATCH,
    VERIFY_DECISION_NO_MATCH,
    EmbedRequest,
)
from recognizer_service.gallery.gallery import Gallery
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.model_directory import ModelDirectory, set_current
from tests.services.asking import enroll, identify, verify
from tests.services.hosting import Service, running_recognizer
from tests.tiny_model import FAMILY, write_tiny_model
from tests.tiny_onnx import SIZE, write_network
from tests.training.invented import invented_face

pytestmark = pytest.mark.asyncio(loop_scope="session")

PEOPLE = 12
Serve = Callable[[], AbstractAsyncContextManager[Service]]


def program(*arguments: object) -> str:
    """What `compactface` prints, of a command that is to succeed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def all_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1, of 512 numbers, and version 2, imported and calibrated as its user would."""
    models, scratch = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("scratch")
    write_tiny_model(models, scratch / "tiny")
    for person in range(PEOPLE):
        folder = scratch / "people" / f"person-{person}"
        folder.mkdir(parents=True)
        for number in range(3):
            invented_face(person, number).save(folder / f"{number}.png")
    network = write_network(scratch / "somebodys.onnx")
    said = program(
        *("model", "import-extractor", network, "--input", "112x112", "--mean", "127.5"),
        *("--std", "127.5,127.5,127.5", "--licence", "CC0-1.0", "--faces", scratch / "people"),
        *("--models", models, "--threads", 1),
    )
    assert "default/2: somebodys.onnx, embedding size 128" in said
    assert "the codecs are those of default/1" in said
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
    return lambda: running_recognizer(models, gallery)


def face_of(models: Path, person: int, number: int) -> CompactMap:
    """The map of a photograph, as version 1 writes it."""
    encoder = OnnxCropEncoder(ModelDirectory.load(models, FAMILY, "1"))
    crop = np.asarray(invented_face(person, number).crop((8, 0, 104, 112)))
    return CompactMap(codec_id=encoder.codec_id, png=encoder.encode(crop[np.newaxis])[0])


async def change_to(service: Service, models: Path, version: str) -> None:
    set_current(models, FAMILY, version)
    async with asyncio.timeout(60):
        while not (await service.gallery.Reembed(ReembedRequest())).done:  # noqa: ASYNC110 - it is the call that is tested
            await asyncio.sleep(0.02)


async def size_of(service: Service, face: CompactMap) -> int:
    return len((await service.recognizer.Embed(EmbedRequest(map=face))).embedding)


async def test_people_are_known_in_both_spaces_without_a_photograph_taken_again(
    serve: Serve, models: Path
) -> None:
    async with serve() as service:
        for person in range(6):
            await enroll(
                service,
                "",
                f"person-{person}",
                face_of(models, person, 0),
                on_duplicate=ON_DUPLICATE_ALLOW,
            )
        assert await size_of(service, face_of(models, 0, 0)) == 512
        await change_to(service, models, "2")

        assert await size_of(service, face_of(models, 0, 0)) == SIZE
        # By rates, which take the calibration that the import made.
        found = await identify(service, "", face_of(models, 4, 1))
        assert found.candidates[0].subject_id == "person-4"
        same = await verify(service, "", face_of(models, 5, 1), "person-5")
        other = await verify(service, "", face_of(models, 5, 1), "person-4")
        assert (same.decision, other.decision) == (VERIFY_DECISION_MATCH, VERIFY_DECISION_NO_MATCH)
        await enroll(
            service, "", "person-6", face_of(models, 6, 0), on_duplicate=ON_DUPLICATE_ALLOW
        )
        found = await identify(service, "", face_of(models, 6, 1))
        assert found.candidates[0].subject_id == "person-6"

        await change_to(service, models, "1")
        assert await size_of(service, face_of(models, 0, 0)) == 512
        found = await identify(service, "", face_of(models, 6, 0), min_similarity=0.99)
        assert found.candidates[0].subject_id == "person-6"  # who came in the other space


async def test_a_service_that_stopped_in_128_numbers_starts_there_and_in_512(
    serve: Serve, models: Path, gallery: Path
) -> None:
    set_current(models, FAMILY, "2")
    async with serve() as service:
        await enroll(service, "", "ada", face_of(models, 1, 0))
    async with serve() as service:
        assert (await identify(service, "", face_of(models, 1, 1))).candidates[
            0
        ].subject_id == "ada"
    set_current(models, FAMILY, "1")
    async with serve() as service:  # serves the version before until all is embedded
        await change_to(service, models, "1")
        found = await identify(service, "", face_of(models, 1, 0), min_similarity=0.99)
        assert found.candidates[0].subject_id == "ada"
    space = ModelDirectory.load(models, FAMILY, "1").manifest.embedding_space
    with Gallery(gallery, embedding_space=space, embedding_size=512) as opened:
        assert opened.check().problems == ()


async def test_an_archive_of_one_space_is_restored_by_a_service_of_the_other(
    serve: Serve, models: Path, tmp_path: Path
) -> None:
    set_current(models, FAMILY, "2")
    async with serve() as service:
        await enroll(service, "", "ada", face_of(models, 1, 0))
        answers = service.gallery.Export(ExportRequest(collection="default"))
        archive = b"".join([answer.chunk async for answer in answers])
    set_current(models, FAMILY, "1")
    async with running_recognizer(models, tmp_path / "other.sqlite") as service:
        request = ImportRequest(collection="copy", chunk=archive)
        answer = await service.gallery.Import(iter([request]))
        assert answer.subjects == 1
        found = await identify(service, "copy", face_of(models, 1, 0), min_similarity=0.99)
        assert found.candidates[0].subject_id == "ada"


async def test_the_program_changes_a_gallery_over_that_nobody_serves(
    serve: Serve, models: Path, gallery: Path
) -> None:
    async with serve() as service:
        for person in range(3):
            await enroll(service, "", f"person-{person}", face_of(models, person, 0))
    where = ("--gallery", gallery, "--models", models)
    for version, faces in (("2", 3), ("1", 0)):
        said = program("gallery", "reembed", "--to", version, *where)
        assert f"embedded {faces} faces" in said
        assert f"all faces have embeddings of default/{version}" in said
        set_current(models, FAMILY, version)
        checked = program("gallery", "check", *where)
        assert "3 faces" in checked
        async with serve() as service:
            found = await identify(service, "", face_of(models, 2, 0), min_similarity=0.99)
            assert found.candidates[0].subject_id == "person-2"


async def test_an_encoder_runs_on_a_version_with_somebody_elses_extractor(models: Path) -> None:
    """Its maps are those of the version before, which cameras may still have."""
    crop = np.asarray(invented_face(0, 0).crop((8, 0, 104, 112)))[np.newaxis]
    maps = [
        OnnxCropEncoder(ModelDirectory.load(models, FAMILY, version)).encode(crop)
        for version in ("1", "2")
    ]
    assert maps[0] == maps[1]
