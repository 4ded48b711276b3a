"""`compactface gallery import` against the recognizer as a process, as its users run it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageStat
from typer.testing import CliRunner, Result

from command_line.demo.processes import Services, running_services
from command_line.main import app
from compactface.client import RecognizerClient
from compactface.v1.gallery_pb2 import AuditOperation

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
def collection(services: Services, request: pytest.FixtureRequest) -> str:
    """A collection of the test's own."""
    name = request.node.name.removeprefix("test_")[:60]
    with RecognizerClient(services.recognizer) as client:
        client.collections.create(name, max_fpir=1e-6)  # the tests' networks see much alike
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two subjects with a good photo each."""
    folder = tmp_path / "people"
    for subject, photo in (("collins", COLLINS), ("obama", OBAMA)):
        (folder / subject).mkdir(parents=True)
        shutil.copy(photo, folder / subject)
    return folder


@pytest.fixture
def run(
    services: Services, tiny_models: Path, collection: str, folder: Path
) -> Callable[..., Result]:
    """Imports the folder with some more options."""

    def run(*options: str) -> Result:
        words = ["gallery", "import", str(folder), "--collection", collection, *options]
        where = ["--recognizer", services.recognizer, "--models", str(tiny_models)]
        return CliRunner().invoke(app, [*words, *where])

    return run


def faces(services: Services, collection: str) -> dict[str, int]:
    """How many faces each subject has."""
    with RecognizerClient(services.recognizer) as client:
        page = client.subjects.list(collection=collection)
    return {subject.subject_id: subject.face_count for subject in page.subjects}


def test_each_folder_becomes_a_subject(
    services: Services, collection: str, run: Callable[..., Result]
) -> None:
    result = run("--largest")
    assert result.exit_code == 0, result.output
    assert "enrolled 2 faces of 2 subjects" in result.output
    assert faces(services, collection) == {"collins": 1, "obama": 1}


def test_an_import_run_again_enrols_only_what_is_new(
    services: Services, collection: str, run: Callable[..., Result], folder: Path
) -> None:
    """Also with other options, and under another file name."""
    run("--largest", "--allow-duplicate")
    (folder / "obama" / OBAMA.name).rename(folder / "obama" / "renamed.jpg")
    shutil.copy(PHOTOS / "barack_obama_congress.jpg", folder / "obama")
    result = run("--largest", "--allow-duplicate")
    assert "enrolled 1 faces of 1 subjects" in result.output
    assert "2 were enrolled before, 0 rejected" in result.output
    assert faces(services, collection) == {"collins": 1, "obama": 2}
    assert "3 were enrolled before, 0 rejected" in run("--largest").output


def table_of(result: Result) -> list[list[str]]:
    """The first words of each row of the tables."""
    lines = [line for line in result.output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


DOUBTS = {"LOOKS_LIKE_ANOTHER", "UNLIKE_ITS_OWN"}


def reasons_of(result: Result) -> dict[str, str]:
    """Of each photo in the table of what was left out or rejected."""
    rows = table_of(result)
    return {row[0]: row[1] for row in rows if row[1] and row[1] not in DOUBTS | {"note"}}


def test_rejected_photos_are_listed_with_their_reasons_and_the_rest_is_enrolled(
    services: Services, collection: str, run: Callable[..., Result], folder: Path
) -> None:
    Image.new("RGB", (200, 200), "teal").save(folder / "obama" / "wall.png")
    (folder / "obama" / "broken.jpg").write_text("no picture")
    (folder / "obama" / "notes.txt").write_text("left out")
    left, right = (Image.open(photo).resize((512, 512)) for photo in (OBAMA, COLLINS))
    both = Image.new("RGB", (1024, 512))
    both.paste(left, (0, 0))
    both.paste(right, (512, 0))
    both.save(folder / "collins" / "both.png")
    result = run()
    assert result.exit_code == 1
    assert reasons_of(result) == {
        "obama/wall.png": "NO_FACE",
        "obama/broken.jpg": "NOT_AN_IMAGE",
        "obama/notes.txt": "NOT_AN_IMAGE",
        "collins/both.png": "SEVERAL_FACES",
    }
    assert "4 rejected, 0 left out" in result.output
    assert faces(services, collection) == {"collins": 1, "obama": 1}
    several = run("--largest")
    assert "2 faces were found; the most prominent was used" in " ".join(several.output.split())


def test_what_is_a_photo_is_for_its_content_to_say(
    services: Services, collection: str, run: Callable[..., Result], folder: Path
) -> None:
    (folder / "obama" / OBAMA.name).rename(folder / "obama" / "portrait")
    (folder / "collins" / COLLINS.name).rename(folder / "collins" / "portrait.jfif")
    with Image.open(PHOTOS / "joe_biden_blue_room.jpg") as photo:
        (folder / "biden").mkdir()
        photo.save(folder / "biden" / "a.avif")
        photo.save(folder / "biden" / "b.txt", "GIF")
    shutil.copy(PHOTOS / "collins.heic", folder / "collins" / "again.jpg")
    result = run("--largest")
    assert result.exit_code == 0, result.output
    assert faces(services, collection) == {"biden": 2, "collins": 2, "obama": 1}


def test_all_that_is_not_taken_is_listed_and_ends_with_1(
    services: Services, collection: str, run: Callable[..., Result], folder: Path
) -> None:
    (folder / "obama" / "2012").mkdir()
    shutil.copy(OBAMA, folder / "obama" / "2012")
    shutil.copy(OBAMA, folder / "loose.jpg")
    shutil.copy(OBAMA, folder / "obama" / ".hidden.jpg")
    (folder / "nobody").mkdir()
    (folder / "obama" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "obama" / "pipe.jpg")
    (folder / ".DS_Store").write_bytes(b"of the file manager")
    result = run("--largest")
    assert result.exit_code == 1
    assert reasons_of(result) == {
        "obama/2012": "NESTED_FOLDER",
        "loose.jpg": "LOOSE_FILE",
        "obama/.hidden.jpg": "HIDDEN",
        "nobody": "EMPTY_FOLDER",
        "obama/gone.jpg": "UNREADABLE_FILE",
        "obama/pipe.jpg": "NO_FILE",
    }
    assert "1 rejected, 5 left out" in result.output
    assert faces(services, collection) == {"collins": 1, "obama": 1}


def test_a_subject_of_whom_nothing_was_enrolled_is_named(
    run: Callable[..., Result], folder: Path
) -> None:
    (folder / "eve").mkdir()
    (folder / "eve" / "letter.jpg").write_text("no picture")
    result = run("--largest")
    assert result.exit_code == 1
    assert "subjects without an enrolled face: eve" in result.output


def doubts_of(result: Result) -> set[tuple[str, ...]]:
    """The pairs in the table of what is doubtful."""
    return {tuple(row[:3]) for row in table_of(result) if row[1] in DOUBTS}


def test_a_look_alike_is_enrolled_and_reported_whoever_comes_first(
    services: Services, collection: str, run: Callable[..., Result], folder: Path
) -> None:
    (folder / "collins" / COLLINS.name).rename(folder / "collins" / "a.jpg")
    for twin in ("alma", "zoe"):  # before and after the one who looks alike
        (folder / twin).mkdir()
        with Image.open(COLLINS) as photo:
            photo.save(folder / twin / f"{twin}.png")
    result = run("--largest")
    assert result.exit_code == 0, result.output
    assert faces(services, collection) == {"alma": 1, "collins": 1, "obama": 1, "zoe": 1}
    pairs = {
        ("alma/alma.png", "LOOKS_LIKE_ANOTHER", "collins/a.jpg"),
        ("alma/alma.png", "LOOKS_LIKE_ANOTHER", "zoe/zoe.png"),
        ("collins/a.jpg", "LOOKS_LIKE_ANOTHER", "zoe/zoe.png"),
    }
    assert doubts_of(result) == pairs
    assert doubts_of(run("--largest")) == pairs  # of a second run, which enrols nothing
    assert doubts_of(run("--largest", "--allow-duplicate")) == set()


def test_a_photo_of_somebody_else_is_enrolled_and_doubted(
    services: Services, collection: str, run: Callable[..., Result], folder: Path
) -> None:
    shutil.copy(COLLINS, folder / "obama")
    with RecognizerClient(services.recognizer) as client:
        client.collections.update(collection, max_fmr=1e-6)
    expected = {(f"obama/{OBAMA.name}", "UNLIKE_ITS_OWN", f"obama/{COLLINS.name}")}
    result = run("--largest", "--allow-duplicate")
    assert result.exit_code == 0
    assert doubts_of(result) == expected
    assert doubts_of(run("--largest", "--allow-duplicate")) == expected
    assert faces(services, collection) == {"collins": 1, "obama": 2}


def test_doubtful_pairs_are_drawn_for_review(
    run: Callable[..., Result], folder: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "review.png"
    assert "no doubtful pairs" in run("--largest", "--review", str(sheet)).output
    assert not sheet.exists()
    (folder / "twin").mkdir()
    shutil.copy(COLLINS, folder / "twin")
    result = run("--largest", "--review", str(sheet))
    assert f"1 of 1 doubtful pairs are shown in {sheet}" in result.output
    assert sheet.stat().st_mode & 0o777 == 0o600
    with Image.open(sheet) as drawn:
        first, second = (drawn.crop((left, 16, left + 144, 160)) for left in (16, 176))
    assert ImageStat.Stat(first).stddev[0] > 20  # a face, and the same one twice
    assert first.tobytes() == second.tobytes()
    shutil.copy(COLLINS, folder / "obama")
    assert run("--largest", "--review", "sheet.doc").exit_code == 2


def test_a_folder_without_subjects_is_a_usage_error(
    run: Callable[..., Result], folder: Path
) -> None:
    for subject in folder.iterdir():
        shutil.rmtree(subject)
    result = run()
    assert result.exit_code == 2
    assert "pictures" in result.stderr


def test_a_collection_that_does_not_exist_is_said_before_any_photo_is_read(
    run: Callable[..., Result],
) -> None:
    result = run("--collection", "nowhere")
    assert result.exit_code == 1
    assert "COLLECTION_NOT_FOUND: " in result.stderr


def test_the_deeds_are_in_the_audit_log(
    services: Services, collection: str, run: Callable[..., Result]
) -> None:
    run("--largest")
    words = ["gallery", "audit", "--collection", collection, "--recognizer", services.recognizer]
    shown = CliRunner().invoke(app, words).output
    assert shown.count(" enroll ") == 2
    assert "create collection" in shown
    with RecognizerClient(services.recognizer) as client:
        events = client.audit_events.list(collection_id=collection, subject_id="obama").events
    assert [AuditOperation.Name(event.operation) for event in events] == ["AUDIT_OPERATION_ENROLL"]


def test_collections_and_subjects_are_changed(
    services: Services, collection: str, run: Callable[..., Result]
) -> None:
    run("--largest")

    def gallery(*words: str) -> str:
        result = CliRunner().invoke(app, ["gallery", *words, "--recognizer", services.recognizer])
        assert result.exit_code == 0, result.output
        return result.output

    gallery("update", collection, "--max-subjects", "2", "--score", "mean-template")
    assert "2/2" in gallery("collections")
    of = ("--collection", collection)
    gallery("update-subject", "obama", "--name", "B.", "--label", "vip", "--metadata", "a=b", *of)
    gallery("update-subject", "obama", "--expires", "2099-01-01", *of)
    listed = gallery("subjects", "--label", "vip", *of)
    assert "B." in listed
    assert "2099-01-01" in listed
    assert "collins" not in listed
    with RecognizerClient(services.recognizer) as client:
        subject = client.subjects.get("obama", collection=collection).subject
        assert (subject.metadata, subject.revision) == ({"a": "b"}, 3)
        kept = client.subjects.update("obama", collection=collection, expire_time="never").subject
        assert not kept.HasField("expire_time")
        with pytest.raises(ValueError, match="nothing to change"):
            client.subjects.update("obama", collection=collection)
