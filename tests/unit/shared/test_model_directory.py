"""A model directory is written whole or not at all, and believed only once verified."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from shared.errors import AlreadyExists, FailedPrecondition, InvalidModel
from shared.faces.align import TEMPLATE
from shared.model_directory import (
    COSFACE_112X96,
    UNCOMPRESSED,
    CodecConfig,
    ModelDirectory,
    current_version,
    set_current,
    write_model_directory,
)
from tests.tiny_model import CODECS, FAMILY, describe, synthetic_table

FILES = {
    "extractor.safetensors": b"extractor",
    "codecs/standard/compnet.safetensors": b"compnet",
    "codecs/standard/recnet.safetensors": b"recnet",
    "codecs/standard/compnet.onnx": b"onnx",
}
ONE_CODEC = {"standard": CODECS["standard"]}


def _write(models: Path, version: str = "1", **changes: Any) -> ModelDirectory:
    """A model of one codec whose files are a few bytes each."""
    files = FILES | changes.pop("files", {})
    description = describe(version, **({"codecs": ONE_CODEC} | changes))
    return write_model_directory(models, description=description, files=files)


def _edit_manifest(model: ModelDirectory, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = model.path / "manifest.json"
    (model.path / "manifest.sha256").unlink(missing_ok=True)  # as models of before
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def test_what_is_written_is_what_is_loaded(tmp_path: Path) -> None:
    table = synthetic_table(UNCOMPRESSED, UNCOMPRESSED)
    written = _write(tmp_path, calibration=(table,), measured={"lfw": {"accuracy": 0.9}})
    loaded = ModelDirectory.load(tmp_path, FAMILY, "1")
    assert loaded == written
    assert loaded.manifest.measured == {"lfw": {"accuracy": 0.9}}
    assert loaded.extractor_path.read_bytes() == b"extractor"
    assert loaded.codec_path(None, "compnet.onnx").read_bytes() == b"onnx"
    assert loaded.codec().map_format == CODECS["standard"].map_format
    assert [path.name for path in (tmp_path / FAMILY).iterdir()] == ["1"]


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(AlreadyExists, match="choose a new version"):
        _write(tmp_path, files={"extractor.safetensors": b"another"})
    assert ModelDirectory.load(tmp_path, FAMILY, "1").extractor_path.read_bytes() == b"extractor"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """The disk refuses the large file when others are already written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            _write(tmp_path, files={"codecs/standard/recnet.safetensors": bytes(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / FAMILY).iterdir()) == []


def test_exactly_the_files_of_the_codecs_are_accepted(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="no others"):
        _write(tmp_path, files={"../notes.txt": b""})
    assert list(tmp_path.iterdir()) == []


def test_current_names_the_version_and_only_a_loadable_one(tmp_path: Path) -> None:
    _write(tmp_path, "1")
    second = _write(tmp_path, "2")
    set_current(tmp_path, FAMILY, "2")
    assert (tmp_path / FAMILY / "current").read_text() == "2\n"
    assert ModelDirectory.load(tmp_path, FAMILY) == second
    with pytest.raises(InvalidModel):
        set_current(tmp_path, FAMILY, "3")
    assert current_version(tmp_path, FAMILY) == "2"


@pytest.mark.parametrize("name", ["../1", "/etc", "..", ".", "", "1\n2", "A", "a" * 65])
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    _write(tmp_path)
    (tmp_path / FAMILY / "current").write_text(name)
    for load in (
        lambda: ModelDirectory.load(tmp_path, FAMILY),
        lambda: ModelDirectory.load(tmp_path, name, "1"),
    ):
        with pytest.raises(InvalidModel) as caught:
            load()
        assert caught.value.reason == "MODEL_NAME_INVALID"
    with pytest.raises(ValidationError):
        describe(codecs={name: CODECS["standard"]}, default_point=name)


def test_a_missing_model_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"current cannot be read; .*--models"):
        ModelDirectory.load(tmp_path, FAMILY)
    with pytest.raises(InvalidModel, match="copy the complete model directory there"):
        ModelDirectory.load(tmp_path, FAMILY, "1")


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_verified(tmp_path: Path, name: str) -> None:
    model = _write(tmp_path)
    (model.path / name).write_bytes(b"other")
    with pytest.raises(InvalidModel, match=name) as caught:
        ModelDirectory.load(tmp_path, FAMILY, "1")
    assert caught.value.reason == "MODEL_DAMAGED"
    (model.path / name).unlink()
    with pytest.raises(InvalidModel, match="is missing") as caught:
        ModelDirectory.load(tmp_path, FAMILY, "1")
    assert caught.value.reason == "MODEL_INCOMPLETE"


@pytest.mark.parametrize(
    ("edit", "reason", "words"),
    [
        (lambda m: m.update(colour="blue"), "MANIFEST_INVALID", "colour: Extra inputs"),
        (lambda m: m.pop("alignment"), "MANIFEST_INVALID", "alignment: Field required"),
        (lambda m: m.update(schema_version=2), "MANIFEST_INVALID", "schema_version: "),
        (
            lambda m: m["extractor"].update(width="0.5"),
            "MANIFEST_INVALID",
            "sphere20.width: ",
        ),
        (lambda m: m["codecs"]["standard"].update(levels=1), "MANIFEST_INVALID", "1 levels"),
        (lambda m: m["codecs"]["standard"].update(layout="rgb8"), "MANIFEST_INVALID", "rgb8"),
        (lambda m: m.update(default_point="fine"), "MANIFEST_INVALID", "'fine' is none of"),
        (lambda m: m["files"].update({"../x": "0" * 64}), "MANIFEST_INVALID", "../x"),
        (lambda m: m["files"].pop("extractor.safetensors"), "MANIFEST_INVALID", "extractor"),
        (lambda m: m.update(version="2"), "MODEL_MISPLACED", "default/2"),
        (lambda m: m.update(embedding_space="0" * 16), "MODEL_ID_MISMATCH", "embedding_space"),
        (lambda m: m["extractor"].update(width=0.25), "MODEL_ID_MISMATCH", "embedding_space"),
        (lambda m: m["codecs"]["standard"].update(levels=2), "MODEL_ID_MISMATCH", "codec_id"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_name(
    tmp_path: Path, edit: Callable[[dict[str, Any]], Any], reason: str, words: str
) -> None:
    _edit_manifest(_write(tmp_path), edit)
    with pytest.raises(InvalidModel) as caught:
        ModelDirectory.load(tmp_path, FAMILY, "1")
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert str(tmp_path) in caught.value.message


def test_no_bit_of_a_manifest_may_change(tmp_path: Path) -> None:
    path = _write(tmp_path).path / "manifest.json"
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for position, bit in zip(
        random.integers(len(content), size=200), random.integers(8, size=200), strict=True
    ):
        flipped = bytearray(content)
        flipped[position] ^= 1 << bit
        path.write_bytes(flipped)
        with pytest.raises(InvalidModel):
            ModelDirectory.load(tmp_path, FAMILY, "1")
    path.write_bytes(content)
    ModelDirectory.load(tmp_path, FAMILY, "1")


def test_every_problem_of_a_manifest_is_named_at_once(tmp_path: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["colour"] = "blue"
        del manifest["family"]

    _edit_manifest(_write(tmp_path), edit)
    with pytest.raises(InvalidModel, match=r"family: .*colour: "):
        ModelDirectory.load(tmp_path, FAMILY, "1")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    model = _write(tmp_path)
    (model.path / "manifest.json").write_bytes(content)
    with pytest.raises(InvalidModel) as caught:
        ModelDirectory.load(tmp_path, FAMILY, "1")
    assert caught.value.reason == "MANIFEST_INVALID"


def test_the_codec_id_follows_what_changes_a_map_or_its_decoding(tmp_path: Path) -> None:
    def ids(version: str, **changes: Any) -> tuple[str, str]:
        model = _write(tmp_path, version, **changes)
        return model.codec().codec_id, model.manifest.embedding_space

    codec, space = ids("1")
    assert ids("2") == (codec, space)
    assert ids("3", files={"codecs/standard/compnet.onnx": b"another"}) == (codec, space)
    for version, name in enumerate(("compnet", "recnet"), 4):
        other = ids(str(version), files={f"codecs/standard/{name}.safetensors": b"another"})
        assert other[0] != codec
        assert other[1] == space
    wider = CodecConfig(channels=6, levels=2, layout="row", widths=(4, 8, 8, 8))
    assert ids("6", codecs={"standard": wider})[0] != codec
    changes = ({"face_width": 0.5}, {"spared": 1}, {"face_mirrored": False})
    for version, change in enumerate(changes, 9):
        other = CodecConfig(**CODECS["standard"].model_dump() | change)
        assert ids(str(version), codecs={"standard": other})[0] != codec
    assert ids("7", files={"extractor.safetensors": b"another"})[0] == codec
    assert ModelDirectory.load(tmp_path, FAMILY, "7").manifest.embedding_space != space
    tilted = COSFACE_112X96.model_copy(update={"id": "tilted"})
    moved = ids("8", alignment=tilted)
    assert moved[0] != codec
    assert moved[1] != space


def test_an_unknown_operating_point_is_answered_with_the_known(tiny_model: ModelDirectory) -> None:
    with pytest.raises(InvalidModel, match=r"no operating point 'fine'.*standard, paper"):
        tiny_model.codec("fine")


def test_calibration_is_found_in_either_order_or_named_as_missing(
    tiny_model: ModelDirectory,
) -> None:
    manifest = tiny_model.manifest
    standard, paper = (manifest.codecs[point].codec_id for point in ("standard", "paper"))
    assert manifest.calibration_for(standard, paper) is manifest.calibration_for(paper, standard)
    assert manifest.calibration_for(standard, standard).probe_codec == standard
    assert manifest.calibration_for(UNCOMPRESSED, paper).threshold(1e-3).similarity == 0.6
    with pytest.raises(FailedPrecondition, match="'0000'") as caught:
        manifest.calibration_for(standard, "0000")
    assert caught.value.reason == "NOT_CALIBRATED"


def test_a_copied_model_directory_is_the_same_model(tiny_models: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_models, tmp_path / "copy")
    copy = ModelDirectory.load(tmp_path / "copy", FAMILY)
    assert copy.manifest == ModelDirectory.load(tiny_models, FAMILY).manifest


def test_the_template_is_the_one_that_faces_are_aligned_to() -> None:
    np.testing.assert_allclose(TEMPLATE, COSFACE_112X96.points, rtol=1e-6)
