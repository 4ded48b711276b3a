"""What `pip install` of the wheel brings: a program that needs no checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIDEN = ROOT / "tests" / "data" / "joe_biden_blue_room.jpg"
BUILT_FROM = (
    *("pyproject.toml", "README.md", "LICENSE", "deploy/models"),
    *("camera_gateway", "command_line", "encoder_service", "recognizer_service", "shared"),
    "web_gateway",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources and unpacked."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, source / name)
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    shutil.rmtree(source)
    return folder / "site-packages"


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COMPACTFACE_")
    }
    return subprocess.run(
        [sys.executable, "-m", "command_line", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_shipped_model_is_found_from_any_folder(installed: Path, tmp_path: Path) -> None:
    verified = run(installed, tmp_path, "model", "verify")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.startswith(str(installed))


def test_photographs_are_encoded_from_any_folder(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "encode", str(BIDEN), "--json")
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert len(answer["faces"]) == 1


def test_the_console_brings_its_pages(installed: Path) -> None:
    console = installed / "web_gateway" / "console"
    for name in ("templates/base.html", "static/console.css", "static/console.js"):
        assert (console / name).is_file(), name


def test_the_wheel_alone_needs_grpc_and_protobuf_and_nothing_else(installed: Path) -> None:
    (metadata,) = installed.glob("compactface-*.dist-info/METADATA")
    headers = message_from_string(metadata.read_text())
    needed = [each for each in headers.get_all("Requires-Dist") if "extra ==" not in each]
    assert {each.split(">=")[0] for each in needed} == {
        *("googleapis-common-protos", "grpcio", "protobuf"),
    }
