"""The command line without services: help, local work, and one clear line for every failure."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from PIL import Image
from typer.testing import CliRunner, Result

from command_line.main import app
from shared.codec.compact_map import unpack
from shared.model_directory import ModelDirectory, current_version
from tests.tiny_model import FAMILY, write_tiny_model

PHOTOS = Path(__file__).parents[2] / "data"
BIDEN = PHOTOS / "joe_biden_blue_room.jpg"
COLLINS = PHOTOS / "eileen_collins_portrait.jpg"

COMMANDS = [
    *("serve", "serve encoder", "serve recognizer"),
    *("demo", "encode", "enroll", "identify", "verify", "health"),
    *("gallery", "gallery collections", "gallery create", "gallery subjects", "gallery show"),
    *("gallery delete-subject", "gallery delete-face", "gallery delete-collection"),
    *("gallery update", "gallery update-subject", "gallery import", "gallery audit"),
    *("gallery check", "protocol"),
    *("model", "model list", "model show", "model verify", "model use"),
    "model import-extractor",
    *("evaluate", "train"),
]


def run(*arguments: object) -> Result:
    """Run the program; a bug shows as its own exception."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def two_faces(tmp_path: Path) -> Path:
    """A photo of two people side by side."""
    left, right = (Image.open(photo).resize((512, 512)) for photo in (BIDEN, COLLINS))
    both = Image.new("RGB", (1024, 512))
    both.paste(left, (0, 0))
    both.paste(right, (512, 0))
    both.save(tmp_path / "both.png")
    return tmp_path / "both.png"


@pytest.fixture
def no_face(tmp_path: Path) -> Path:
    Image.new("RGB", (200, 200), "teal").save(tmp_path / "wall.png")
    return tmp_path / "wall.png"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"Usage: root {command} " in result.output


def test_help_names_every_command_with_a_sentence() -> None:
    output = run("--help").output
    for name in {command.split()[0] for command in COMMANDS}:
        assert any(line.split()[1:2] == [name] for line in output.splitlines()), name


def test_the_descriptor_set_needs_nothing_besides(tmp_path: Path) -> None:
    assert run("protocol", tmp_path / "compactface.binpb").exit_code == 0
    files = FileDescriptorSet.FromString((tmp_path / "compactface.binpb").read_bytes()).file
    pool = DescriptorPool()
    for file in files:
        pool.Add(file)  # TypeError if an import is missing or comes later
    for name in ("EncoderService", "RecognizerService", "GalleryService"):
        assert pool.FindServiceByName(f"compactface.v1.{name}").methods
    assert pool.FindMessageTypeByName("google.rpc.ErrorInfo")


def test_the_version_is_printed() -> None:
    assert run("--version").output.startswith("compactface 0.")


def test_every_setting_is_a_flag_and_every_bad_one_is_named() -> None:
    result = run("serve", "encoder", "--port", 99999, "--threads", 0)
    assert result.exit_code == 2
    assert "--port is 99999" in result.stderr
    assert "--threads is 0" in result.stderr


def test_a_service_without_a_model_says_where_it_looked(tmp_path: Path) -> None:
    result = run("serve", "encoder", "--models", tmp_path, "--port", 0, "--metrics-port", 0)
    assert result.exit_code == 1
    assert result.stderr.startswith("MODEL_MISSING: ")
    assert str(tmp_path) in result.stderr
    assert "--models" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_encode_prints_a_row_for_each_face(tiny_models: Path, no_face: Path) -> None:
    result = run("encode", BIDEN, no_face, "--models", tiny_models)
    assert result.exit_code == 0
    assert any(BIDEN.name in line and " at " in line for line in result.output.splitlines())
    assert "no face found" in result.output


def test_encode_writes_maps_that_the_codec_reads(
    tiny_models: Path, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    result = run("encode", BIDEN, "--models", tiny_models, "-o", tmp_path / "maps")
    assert result.exit_code == 0
    facts = json.loads((tmp_path / "maps" / f"{BIDEN.name}.1.json").read_text())
    assert facts["codec_id"] == tiny_model.codec().codec_id
    assert 0 < facts["quality"] <= 1
    assert "map" not in facts
    png = (tmp_path / "maps" / f"{BIDEN.name}.1.png").read_bytes()
    assert len(png) == facts["size_bytes"]
    for file in (tmp_path / "maps").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    fmt = tiny_model.codec().map_format
    assert unpack(png, fmt).shape == fmt.shape


def test_encode_as_json_carries_the_map_itself(
    tiny_models: Path, tiny_model: ModelDirectory
) -> None:
    result = run("encode", BIDEN, "--json", "--models", tiny_models)
    (answer,) = json.loads(result.output)
    (face,) = answer["faces"]
    assert answer["photo"] == str(BIDEN)
    unpack(base64.b64decode(face["map"]["png"]), tiny_model.codec().map_format)


def test_a_file_that_is_no_picture_is_named(tiny_models: Path) -> None:
    result = run("encode", PHOTOS / "PROVENANCE.md", "--models", tiny_models)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"NOT_AN_IMAGE: {PHOTOS / 'PROVENANCE.md'}: ")


def test_one_bad_photo_spoils_no_other(tiny_models: Path, tmp_path: Path) -> None:
    bad = PHOTOS / "PROVENANCE.md"
    output = tmp_path / "maps"
    result = run("encode", BIDEN, bad, COLLINS, "--models", tiny_models, "-o", output)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"NOT_AN_IMAGE: {bad}: ")
    assert len(result.stderr.splitlines()) == 1
    assert BIDEN.name in result.stdout
    assert COLLINS.name in result.stdout
    assert {path.stem for path in output.glob("*.png")} == {f"{BIDEN.name}.1", f"{COLLINS.name}.1"}


def test_programs_learn_of_the_bad_photo_beside_the_others(tiny_models: Path) -> None:
    bad = PHOTOS / "PROVENANCE.md"
    result = run("encode", bad, BIDEN, "--json", "--models", tiny_models)
    assert result.exit_code == 1
    refused, answered = json.loads(result.stdout)
    assert refused["photo"] == str(bad)
    assert refused["error"]["reason"] == "NOT_AN_IMAGE"
    assert len(answered["faces"]) == 1


def test_a_file_that_cannot_be_read_is_one_bad_photo(tiny_models: Path, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    shutil.copy(BIDEN, tmp_path / "album" / "b.jpg")
    (tmp_path / "album" / "a.jpg").symlink_to("/proc/self/mem")
    result = run("encode", tmp_path / "album", "--models", tiny_models)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"UNREADABLE_FILE: {tmp_path / 'album' / 'a.jpg'}: ")
    assert "b.jpg" in result.stdout


def test_a_folder_stands_for_the_files_in_it(tiny_models: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    (album / "more" / ".trash").mkdir(parents=True)
    shutil.copy(BIDEN, album / "one.jpg")
    shutil.copy(COLLINS, album / "more" / "one.jpg")
    for hidden in (".hidden.jpg", "more/.trash/gone.jpg"):
        (album / hidden).write_text("no picture")
    result = run("encode", album, "--models", tiny_models, "-o", tmp_path / "maps")
    assert result.exit_code == 0, result.output
    maps = {str(path.relative_to(tmp_path / "maps")) for path in (tmp_path / "maps").rglob("*.png")}
    assert maps == {"album/one.jpg.1.png", "album/more/one.jpg.1.png"}


def test_an_empty_folder_is_a_usage_error(tmp_path: Path) -> None:
    assert run("encode", tmp_path).exit_code == 2


def test_maps_of_photos_with_one_name_are_not_written_over_each_other(
    tiny_models: Path, tmp_path: Path
) -> None:
    shutil.copy(COLLINS, tmp_path / BIDEN.name)
    photos = (BIDEN, tmp_path / BIDEN.name)
    result = run("encode", *photos, "--models", tiny_models, "-o", tmp_path / "maps")
    assert result.exit_code == 2
    assert not (tmp_path / "maps").exists()


def test_a_photo_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    assert run("encode", tmp_path / "nowhere.jpg").exit_code == 2


def test_enroll_refuses_a_photo_without_a_face(tiny_models: Path, no_face: Path) -> None:
    result = run("enroll", "wall", no_face, "--models", tiny_models)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"NO_FACE: {no_face}")


def test_enroll_refuses_a_photo_of_several_people(tiny_models: Path, two_faces: Path) -> None:
    result = run("enroll", "someone", two_faces, "--models", tiny_models)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"SEVERAL_FACES: {two_faces}: 2 faces")
    assert "--largest" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["gallery", "collections", "--recognizer", "127.0.0.1:1"],
        ["encode", BIDEN, "--encoder", "127.0.0.1:1"],
    ],
)
def test_a_service_that_cannot_be_reached_is_one_line(arguments: list[object]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("UNAVAILABLE: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", BIDEN],
        ["verify", BIDEN, COLLINS, "--subject", "someone"],
        ["verify", BIDEN, COLLINS, "--max-fmr", "0.1", "--min-similarity", "0.5"],
        ["identify", BIDEN, "--max-fpir", "0.1", "--min-similarity", "0.5"],
        ["gallery", "collections", "--key", BIDEN],
        ["gallery", "collections", "--key", BIDEN, "--certificate", BIDEN],
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(arguments: list[object]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Invalid value" in result.stderr


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [
        ("onnxruntime", "encoder", ["encode", str(BIDEN)]),
        ("torch", "recognizer", ["serve", "recognizer"]),
        ("faiss", "recognizer", ["serve", "recognizer"]),
    ],
)
def test_a_missing_extra_is_answered_with_the_line_that_installs_it(
    module: str, extra: str, command: list[str]
) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None; from command_line.main import app; app()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"this needs {module}; install it: pip install 'compactface[{extra}]'\n"


def test_the_model_in_use_is_shown_verified_and_chosen(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for version in ("1", "2"):
        write_tiny_model(tmp_path, tmp_path_factory.mktemp("scratch"), version=version)
    where = ("--models", tmp_path)

    assert run("model", "use", "1", *where).exit_code == 0
    assert current_version(tmp_path, FAMILY) == "1"
    current = [line for line in run("model", "list", *where).output.splitlines() if "curr" in line]
    assert ["1" in line for line in current] == [True]
    shown = run("model", "show", "2", *where).output
    assert ModelDirectory.load(tmp_path, FAMILY, "2").codec().codec_id in shown
    assert run("model", "verify", *where).exit_code == 0


def test_what_was_measured_is_a_table(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "models", tmp_path / "scratch")
    manifest = tmp_path / "models" / FAMILY / "1" / "manifest.json"
    manifest.with_name("manifest.sha256").unlink()  # as models of before
    facts = json.loads(manifest.read_text())
    scores = [{"probe": probe, "score": {"accuracy": 0.9123456}} for probe in ("tiny", "fine")]
    sizes = {"tiny": {"bytes_mean": 150.0}, "fine": {"bytes_mean": 700.0}}
    facts["measured"] = {"validation": {"images": 4455, "cells": scores, "points": sizes}}
    manifest.write_text(json.dumps(facts))
    shown = run("model", "show", "--models", tmp_path / "models")
    assert shown.exit_code == 0, shown.output
    lines = [[word for word in line.split() if word != "│"] for line in shown.output.splitlines()]
    assert ["images", "4455"] in lines
    assert ["fine", "0.91235"] in lines
    assert ["tiny", "150"] in lines
    assert "{" not in shown.output
    as_json = json.loads(run("model", "show", "--json", "--models", tmp_path / "models").output)
    assert as_json["measured"] == facts["measured"]


def test_a_damaged_model_is_found_and_not_chosen(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "models", tmp_path / "scratch")
    extractor = tmp_path / "models" / FAMILY / "1" / "extractor.safetensors"
    extractor.write_bytes(extractor.read_bytes()[:-1])
    for command in (["verify"], ["use", "1"]):
        result = run("model", *command, "--models", tmp_path / "models")
        assert result.exit_code == 1
        assert result.stderr.startswith("MODEL_DAMAGED: ")
