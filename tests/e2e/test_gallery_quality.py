"""What `gallery calibrate` and `audit-quality` say of the people enrolled."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from command_line.main import app
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Enrolment, NewFace
from shared.codec.compact_map import pack
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import CrowdConfig, ModelDirectory
from tests.services.hosting import running_recognizer
from tests.tiny_quality import HEAD, write_judging_model

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_model: ModelDirectory) -> Path:
    folder = tmp_path_factory.mktemp("judging")
    write_judging_model(tiny_model, folder)
    return folder


def enroll(path: Path, models: Path, brightness: list[int], *, alike: bool = False) -> None:
    """A person for each brightness, 0 to 3; all of one embedding, or each of its own."""
    model = ModelDirectory.load(models, "default")
    decoder, codec = MapDecoder(model), model.codec("standard")
    random = np.random.default_rng(0)
    directions = np.eye(len(brightness), decoder.embedding_size, dtype=np.float32)
    with Gallery(path, embedding_space=decoder.embedding_space) as gallery:
        for number, level in enumerate(brightness):
            low, high = max(0, level - 1), min(3, level + 1) if 0 < level < 3 else level
            symbols = random.integers(low, high + 1, codec.map_format.shape, np.uint8)
            if level in (0, 3):
                symbols[:] = level
            embedding = directions[0 if alike else number]
            face = NewFace(codec.codec_id, pack(symbols, codec.map_format), embedding, 1.0)
            gallery.enroll("default", Enrolment((face,), f"person-{number:02}"))


async def run(models: Path, gallery: Path, *arguments: object) -> tuple[int, str]:
    """`compactface gallery ...` beside a recognizer that serves the gallery."""
    async with running_recognizer(models, gallery) as service:
        asked = ["gallery", *map(str, arguments), "--recognizer", service.address]
        asked += ["--models", str(models)]
        answer = await asyncio.to_thread(CliRunner().invoke, app, asked)
    return answer.exit_code, answer.output


def _document(output: str) -> list[dict[str, Any]]:
    """The JSON among the lines that the recognizer logs in this process."""
    lines = output.splitlines()
    document: list[dict[str, Any]] = json.loads(
        "".join(lines[lines.index("[") : lines.index("]") + 1])
    )
    return document


async def test_strangers_who_are_unlike_pass_no_threshold(models: Path, tmp_path: Path) -> None:
    enroll(tmp_path / "gallery.sqlite", models, [1, 2] * 10)
    code, output = await run(models, tmp_path / "gallery.sqlite", "calibrate", "--json")
    assert code == 0, output
    (row,) = _document(output)  # 190 pairs say nothing about 1e-2
    assert row["fmr_asked"] == 0.1
    assert row["pairs"] == 190
    assert row["fmr_measured"] == 0
    assert row["high"] > 0


async def test_strangers_are_compared_by_the_eased_thresholds_of_judged_faces(
    tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    """At FMR 0.1 strangers of similarity 0 are 0.2 short; less 0.25 they match."""
    crowd = CrowdConfig(scale=HEAD.scale, spread=0, eased=((0.1, 0.25),))
    write_judging_model(tiny_model, tmp_path, crowd=crowd)
    enroll(tmp_path / "gallery.sqlite", tmp_path, [2] * 20)
    code, output = await run(tmp_path, tmp_path / "gallery.sqlite", "calibrate", "--json")
    assert code == 0, output
    (row,) = _document(output)
    assert row["fmr_measured"] == 1


async def test_strangers_who_are_all_alike_are_told_of(models: Path, tmp_path: Path) -> None:
    enroll(tmp_path / "gallery.sqlite", models, [1, 2] * 10, alike=True)
    code, output = await run(models, tmp_path / "gallery.sqlite", "calibrate", "--json")
    assert code == 0, output
    (row,) = _document(output)
    assert row["fmr_measured"] == 1
    assert row["similarity"] == pytest.approx(1)


async def test_too_few_people_support_no_rate(models: Path, tmp_path: Path) -> None:
    enroll(tmp_path / "gallery.sqlite", models, [1, 2, 1])
    code, output = await run(models, tmp_path / "gallery.sqlite", "calibrate")
    assert code == 1
    assert "3 pairs of strangers are enrolled; at least 100 are" in " ".join(output.split())


async def test_poor_faces_are_listed_the_worst_first_and_drawn(
    models: Path, tmp_path: Path
) -> None:
    enroll(tmp_path / "gallery.sqlite", models, [2, 3, 0, 2])
    sheet = tmp_path / "sheet.png"
    asked = ("audit-quality", "--json", "--sheet", sheet)
    code, output = await run(models, tmp_path / "gallery.sqlite", *asked)
    assert code == 0, output
    found = _document(output)
    assert [each["subject_id"] for each in found] == ["person-02", "person-01"]
    assert found[0]["quality"] < 0.15
    assert found[0]["wrong"] == ["too dark"]
    assert found[1]["wrong"] == ["not a face"]
    with Image.open(sheet) as drawn:
        assert drawn.width > 900
    assert sheet.stat().st_mode & 0o777 == 0o600


async def test_a_model_without_a_head_cannot_tell(tiny_models: Path, tmp_path: Path) -> None:
    enroll(tmp_path / "gallery.sqlite", tiny_models, [1, 2])
    code, output = await run(tiny_models, tmp_path / "gallery.sqlite", "audit-quality")
    assert code == 1
    assert "has no quality head" in " ".join(output.split())
