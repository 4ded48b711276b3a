"""The program moves a gallery: archives through a service, snapshots and models on the file."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from command_line.main import app
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Enrolment, NewFace
from shared.codec.compact_map import pack
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory, set_current
from tests.services.hosting import running_recognizer
from tests.tiny_model import FAMILY, write_tiny_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1, which is current, and 2; their codecs and extractors differ."""
    folder = tmp_path_factory.mktemp("models")
    for version in ("1", "2"):
        scratch = tmp_path_factory.mktemp("scratch")
        write_tiny_model(folder, scratch, version=version, seed=int(version))
    set_current(folder, FAMILY, "1")
    return folder


@pytest.fixture
def gallery(models: Path, tmp_path: Path) -> Path:
    """Ten people, enrolled with version 1."""
    path = tmp_path / "gallery.sqlite"
    decoder = MapDecoder(ModelDirectory.load(models, FAMILY, "1"))
    codec = decoder.model.codec("standard")
    random = np.random.default_rng(1)
    with Gallery(path, embedding_space=decoder.embedding_space) as opened:
        for number in range(10):
            symbols = random.integers(0, codec.levels, codec.map_format.shape, np.uint8)
            (embedding,) = decoder.embed([(codec.codec_id, symbols)])
            face = NewFace(codec.codec_id, pack(symbols, codec.map_format), embedding)
            opened.enroll("default", Enrolment((face,), f"person-{number}"))
    return path


def program(*arguments: object) -> Result:
    """Run `compactface gallery` with some arguments."""
    return CliRunner().invoke(app, ["gallery", *map(str, arguments)])


def space_of(models: Path, version: str) -> str:
    return ModelDirectory.load(models, FAMILY, version).manifest.embedding_space


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def run(*arguments: object) -> Result:
    return await asyncio.to_thread(program, *arguments)


async def test_a_collection_goes_into_a_file_and_comes_back(
    models: Path, gallery: Path, tmp_path: Path
) -> None:
    file = tmp_path / "people.archive"
    async with running_recognizer(models, gallery) as service:
        where = ("--recognizer", service.address)
        exported = await run("export", file, *where)
        assert exported.exit_code == 0, exported.output
        assert f"{file.stat().st_size:,} bytes" in exported.stdout
        assert file.stat().st_mode & 0o777 == 0o600
        restored = await run("restore", file, "--collection", "copy", *where)
        assert "restored 10 subjects with 10 faces to copy" in restored.stdout
        assert (await run("export", file, *where)).exit_code == 2
        refused = await run("restore", file, *where)
        assert refused.exit_code == 1
        assert "COLLECTION_EXISTS" in refused.output


async def test_an_export_that_fails_leaves_no_file(
    models: Path, gallery: Path, tmp_path: Path
) -> None:
    file = tmp_path / "people.archive"
    async with running_recognizer(models, gallery) as service:
        failed = await run(
            "export", file, "--collection", "nobody", "--recognizer", service.address
        )
    assert failed.exit_code == 1
    assert names_in(tmp_path) == {"gallery.sqlite", "gallery.sqlite.lock"}


def test_a_snapshot_is_served_as_the_gallery_was(
    models: Path, gallery: Path, tmp_path: Path
) -> None:
    with Gallery(gallery, embedding_space=space_of(models, "1")):
        taken = program("snapshot", tmp_path / "copy.sqlite", "--gallery", gallery)
    assert taken.exit_code == 0, taken.output
    with Gallery(tmp_path / "copy.sqlite", embedding_space=space_of(models, "1")) as copy:
        assert copy.check().faces == 10


def test_a_gallery_is_embedded_anew_and_back(models: Path, gallery: Path) -> None:
    where = ("--gallery", gallery, "--models", models)
    there = program("reembed", "--to", "2", *where)
    assert there.exit_code == 0, there.output
    assert "embedded 10 faces at" in there.stdout
    assert "all faces have embeddings of default/2" in there.stdout
    assert "embedded 0 faces; all" in program("reembed", "--to", "2", *where).stdout
    with Gallery(gallery, embedding_space=space_of(models, "2")) as newer:
        assert newer.check().ok
    assert (
        "embedded 0 faces; all faces have embeddings of default/1"
        in program("reembed", *where).stdout
    )
    discarded = program("reembed", "--to", "2", "--discard-old", *where)
    assert "deleted" in discarded.stdout
    with Gallery(gallery, embedding_space=space_of(models, "2")) as newer:
        assert newer.spaces.progress(space_of(models, "1")).faces_done == 0


def test_a_gallery_that_is_served_is_not_embedded_anew_behind_its_back(
    models: Path, gallery: Path
) -> None:
    with Gallery(gallery, embedding_space=space_of(models, "1")):
        refused = program("reembed", "--to", "2", "--gallery", gallery, "--models", models)
    assert refused.exit_code == 1
    assert "GALLERY_IN_USE" in refused.output
