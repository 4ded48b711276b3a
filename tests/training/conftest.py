"""What the stages of training begin with, on a handful of invented faces."""

from pathlib import Path

import pytest

from tests.training.invented import invented_face, run_train, write_teacher

PEOPLE, FACES_EACH = 40, 3


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of forty invented people, with a teacher's embeddings of them and of mixtures."""
    folder = tmp_path_factory.mktemp("training")
    for person in range(PEOPLE):
        for number in range(FACES_EACH):
            path = folder / "faces" / f"person{person}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            invented_face(person, number).save(path)
    teacher = write_teacher(folder / "teacher.onnx")
    run_train("cache", folder / "faces", "--teacher", teacher, "--cache", folder / "cache")
    run_train("views", "--teacher", teacher, "--cache", folder / "cache", "--count", 64)
    return folder / "cache"


@pytest.fixture(scope="session")
def extractor(cache: Path) -> Path:
    """A run of stage 0."""
    run_train("extractor", "--smoke", "--cache", cache, "--out", cache / "extractor")
    return cache / "extractor"
