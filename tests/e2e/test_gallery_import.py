"""`compactface gallery import` against the recognizer as a process, as its users run it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
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
        client.create_collection(name, max_fpir=1e-6)  # the tests' networks see much alike
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
        page = client.list_subjects(collection=collection)
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
    assert "2 were there before, 0 were rejected" in result.output
    assert faces(services, collection) == {"collins": 1, "obama": 2}
    assert "3 were there before, 0 were rejected" in run("--largest").output


def test_rejected_photos_are_listed_with_their_reasons_and_the_rest_is_enrolled(
    services: Services, collection: str, run: Callable[..., Result], folder: Path
) -> None:
    Image.new("RGB", (200, 200), "teal").save(folder / "obama" / "wall.png")
    (folder / "obama" / "broken.jpg").write_text("no picture")
    (folder / "obama" / "notes.txt").write_text("passed over")
    left, right = (Image.open(photo).resize((512, 512)) for photo in (OBAMA, COLLINS))
    both = Image.new("RGB", (1024, 512))
    both.paste(left, (0, 0))
    both.paste(right, (512, 0))
    both.save(folder / "collins" / "both.png")
    (folder / "twin").mkdir()
    shutil.copy(COLLINS, folder / "twin")
    result = run()
    assert result.exit_code == 1
    reasons = {
        line.split()[1]: line.split()[3] for line in result.output.splitlines() if "/" in line
    }
    assert (
        reasons.items()
        >= {
            "obama/wall.png": "NO_FACE",
            "obama/broken.jpg": "NOT_AN_IMAGE",
            "collins/both.png": "SEVERAL_FACES",
            f"twin/{COLLINS.name}": "DUPLICATE_FACE",
        }.items()
    )
    assert "notes.txt" not in result.output
    assert faces(services, collection)["collins"] == 1


def test_a_photo_of_somebody_else_is_enrolled_and_doubted(
    services: Services, collection: str, run: Callable[..., Result], folder: Path
) -> None:
    shutil.copy(COLLINS, folder / "obama")
    with RecognizerClient(services.recognizer) as client:
        client.update_collection(collection, max_fmr=1e-6)
    result = run("--largest", "--allow-duplicate")
    assert result.exit_code == 0
    (line,) = [line for line in result.output.splitlines() if "warning" in line]
    assert f"obama/{COLLINS.name}" in line
    assert "unlike the subject's other faces" in line
    assert faces(services, collection) == {"collins": 1, "obama": 2}


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
        events = client.list_audit_events(collection_id=collection, subject_id="obama").events
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
        subject = client.get_subject("obama", collection=collection).subject
        assert (subject.metadata, subject.revision) == ({"a": "b"}, 3)
        kept = client.update_subject("obama", collection=collection, expire_time="never").subject
        assert not kept.HasField("expire_time")
        with pytest.raises(ValueError, match="nothing to change"):
            client.update_subject("obama", collection=collection)
