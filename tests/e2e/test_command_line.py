"""The command line against both services as processes, as its users run it."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from command_line.demo.processes import Services, running_services
from command_line.main import app
from compactface.client import RecognizerClient

PHOTOS = Path(__file__).parents[1] / "data"
OBAMA = PHOTOS / "barack_obama_portrait_2012.jpg"
COLLINS = PHOTOS / "eileen_collins_portrait.jpg"


@pytest.fixture(scope="module")
def services(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("services")
    with running_services(
        models=tiny_models,
        family="default",
        gallery=folder / "gallery.sqlite",
        collection="default",
        logs=folder,
    ) as running:
        yield running


@pytest.fixture
def compactface(services: Services) -> Any:
    """Runs a command that must succeed and gives what it printed; photos go to the encoder."""

    def run(command: str, *photos: Path) -> str:
        words = [*shlex.split(command), *map(str, photos), "--recognizer", services.recognizer]
        if photos:
            words += ["--encoder", services.encoder]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def collection(compactface: Any, request: pytest.FixtureRequest) -> str:
    """A collection of the test's own, in which Obama is enrolled."""
    name = request.node.name.removeprefix("test_")[:40]
    compactface(f"gallery create {name} --max-fpir 0.02 --sighting-hours 1")
    compactface(f"enroll obama --name 'Barack Obama' --collection {name} --largest", OBAMA)
    return name


def test_who_was_enrolled_is_identified(compactface: Any, collection: str) -> None:
    (answer,) = json.loads(compactface(f"identify --json --collection {collection}", OBAMA))
    assert answer["decision"] == "IDENTIFY_DECISION_MATCH"
    assert answer["candidates"][0]["subject_id"] == "obama"
    assert answer["candidates"][0]["similarity"] > 0.999
    row = compactface(f"identify --collection {collection}", OBAMA)
    assert "obama (Barack Obama)" in row


def test_a_required_liveness_is_set_and_lifted(compactface: Any, collection: str) -> None:
    """Photographs from files claim none."""

    def required() -> float:
        listed = json.loads(compactface("gallery collections --json"))
        return next(each["min_liveness"] for each in listed if each["collection_id"] == collection)

    assert required() == 0
    compactface(f"gallery update {collection} --min-liveness 0.75")
    assert required() == 0.75
    compactface(f"gallery update {collection} --max-fpir 0.03")
    assert required() == 0.75
    compactface(f"gallery update {collection} --min-liveness 0")
    (answer,) = json.loads(compactface(f"identify --json --collection {collection}", OBAMA))
    assert answer["decision"] == "IDENTIFY_DECISION_MATCH"


def test_one_bad_photo_spoils_no_other(services: Services, collection: str) -> None:
    bad = PHOTOS / "PROVENANCE.md"
    where = ["--recognizer", services.recognizer, "--encoder", services.encoder]
    question = ["identify", "--json", "--collection", collection, str(bad), str(OBAMA)]
    result = CliRunner().invoke(app, [*question, *where])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"NOT_AN_IMAGE: {bad}: ")
    answered, refused = json.loads(result.stdout)
    assert answered["candidates"][0]["subject_id"] == "obama"
    assert refused == {"photo": str(bad), "error": refused["error"]}


def test_nobody_is_two_faces_of_one_photo(
    compactface: Any, collection: str, tmp_path: Path
) -> None:
    """Though the same photo given twice shows the same person twice."""
    half = Image.open(OBAMA).resize((512, 512))
    twice = Image.new("RGB", (1024, 512))
    twice.paste(half, (0, 0))
    twice.paste(half, (512, 0))
    twice.save(tmp_path / "twice.png")
    command = f"identify --json --min-similarity 0.5 --collection {collection}"
    two = json.loads(compactface(command, tmp_path / "twice.png"))
    decisions = sorted(answer["decision"] for answer in two)
    assert decisions == ["IDENTIFY_DECISION_MATCH", "IDENTIFY_DECISION_NO_MATCH"]
    assert sorted(answer["candidates"][0]["taken"] for answer in two) == [False, True]
    table = compactface(command.replace("--json ", ""), tmp_path / "twice.png")
    assert table.count("obama") == 2
    assert table.count("assigned to another face") == 1
    again = json.loads(compactface(command, OBAMA, OBAMA))
    assert [answer["candidates"][0]["taken"] for answer in again] == [False, False]


def test_two_people_in_a_first_enrolment_are_warned_about(services: Services) -> None:
    words = ["enroll", "mixed", *map(str, (OBAMA, OBAMA, COLLINS)), "--largest"]
    words += ["--allow-duplicate", "--encoder", services.encoder]
    result = CliRunner().invoke(app, [*words, "--recognizer", services.recognizer])
    assert result.exit_code == 0, result.output
    assert "enrolled 3 faces of mixed" in result.stdout
    (warning,) = result.stderr.splitlines()
    assert warning.startswith(f"warning: {COLLINS}: unlike the subject's other faces")


def test_photos_and_subjects_are_verified(compactface: Any, collection: str) -> None:
    same = json.loads(compactface("verify --json", OBAMA, OBAMA))
    assert same["decision"] == "VERIFY_DECISION_MATCH"
    named = json.loads(
        compactface(f"verify --json --collection {collection} --subject obama", OBAMA)
    )
    assert named["decision"] == "VERIFY_DECISION_MATCH"
    strict = json.loads(compactface("verify --json --min-similarity 0.9999", OBAMA, COLLINS))
    assert strict["decision"] == "VERIFY_DECISION_NO_MATCH"


def test_of_several_faces_the_most_prominent_is_taken_and_the_others_are_told_of(
    services: Services, collection: str, tiny_models: Path, tmp_path: Path
) -> None:
    with Image.open(OBAMA) as photo:
        crowd = Image.new("RGB", (3 * photo.width, photo.height))
        for column in range(3):
            crowd.paste(photo, (column * photo.width, 0))
    crowd.save(tmp_path / "crowd.jpg")
    words = ["--largest", "--recognizer", services.recognizer, "--models", str(tiny_models)]
    photos = [str(tmp_path / "crowd.jpg"), str(OBAMA)]
    verified = CliRunner().invoke(app, ["verify", *photos, "--json", *words])
    assert verified.stderr.startswith(f"note: {photos[0]}: 3 faces were found; the most prominent")
    answer = json.loads(verified.stdout)
    assert [shown["faces_found"] for shown in answer["photos"]] == [3, 1]
    assert crowd.width / 3 < answer["photos"][0]["box"]["x"] < crowd.width * 2 / 3
    of = ["--collection", collection]
    enrolled = CliRunner().invoke(
        app, ["enroll", "crowd", photos[0], *of, *words, "--allow-duplicate"]
    )
    assert "3 faces were found" in enrolled.stderr


def test_an_enrolled_face_was_captured_when_its_photo_says_or_nobody_knows(
    compactface: Any, services: Services, collection: str, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x9003: "2012:12:06 14:30:00", 0x9011: "-05:00"}
    with Image.open(COLLINS) as photo:
        photo.save(tmp_path / "dated.jpg", exif=exif)
    compactface(
        f"enroll collins --allow-duplicate --collection {collection}", tmp_path / "dated.jpg"
    )
    with RecognizerClient(services.recognizer) as client:
        (dated,) = client.subjects.get("collins", collection=collection).faces
        (undated,) = client.subjects.get("obama", collection=collection).faces
    assert dated.capture_time.ToJsonString() == "2012-12-06T19:30:00Z"
    assert not undated.HasField("capture_time")


def test_the_gallery_is_listed(compactface: Any, collection: str) -> None:
    (row,) = [
        line for line in compactface("gallery collections").splitlines() if collection in line
    ]
    assert [word for word in row.split() if word != "│"] == [
        *(collection, "1", "1", "0.02", "0.001", "kept", "1", "h")
    ]
    assert "Barack Obama" in compactface(f"gallery subjects --collection {collection}")


def test_programs_get_all_that_is_known(compactface: Any, collection: str) -> None:
    where = f"--collection {collection}"
    compactface(f"gallery update-subject obama --label staff --metadata badge=44 {where}")
    shown = json.loads(compactface(f"gallery show obama --json {where}"))
    assert shown["subject"]["metadata"] == {"badge": "44"}
    assert shown["subject"]["labels"] == ["staff"]
    assert len(shown["faces"]) == 1
    assert "badge: 44" in compactface(f"gallery show obama {where}")
    (subject,) = json.loads(compactface(f"gallery subjects --json {where}"))
    assert subject == shown["subject"]
    collections = json.loads(compactface("gallery collections --json"))
    (found,) = [item for item in collections if item["collection_id"] == collection]
    assert found["max_fpir"] == 0.02
    events = json.loads(compactface(f"gallery audit --json --collection {collection}"))
    assert [event["operation"] for event in events][-1] == "AUDIT_OPERATION_UPDATE_SUBJECT"


def test_names_are_shown_as_they_are(compactface: Any, collection: str) -> None:
    where = f"--collection {collection}"
    compactface(f"gallery update-subject obama --name '[red]Barack[/x]' {where}")
    assert "[red]Barack[/x]" in compactface(f"gallery subjects {where}")
    assert "[red]Barack[/x]" in compactface(f"gallery show obama {where}")
    assert "[red]Barack[/x]" in compactface(f"identify {where}", OBAMA)


def test_faces_subjects_and_collections_are_deleted(compactface: Any, collection: str) -> None:
    shown = compactface(f"gallery show obama --collection {collection}")
    face_id = next(line.split()[1] for line in shown.splitlines() if " 0." in line)
    assert "deleted" in compactface(f"gallery delete-face {face_id} --collection {collection}")
    assert "with 0 faces" in compactface(f"gallery delete-subject obama --collection {collection}")
    assert "deleted" in compactface(f"gallery delete-collection {collection}")
    assert collection not in compactface("gallery collections")


def test_a_refusal_of_the_service_is_one_line_with_its_reason(services: Services) -> None:
    result = CliRunner().invoke(
        app, ["gallery", "show", "nobody", "--recognizer", services.recognizer]
    )
    assert result.exit_code == 1
    assert result.stderr.startswith("SUBJECT_NOT_FOUND: ")
    assert len(result.stderr.splitlines()) == 1
