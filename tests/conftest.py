"""Fixtures that tests of all kinds share."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from recognizer_service.gallery.storage.locations import Location, Milvus
from shared.model_directory import ModelDirectory
from tests.locations import LOCATIONS
from tests.milvus import running_milvus, server_program
from tests.postgres import PostgresServer, running_postgres, server_programs
from tests.tiny_model import FAMILY, write_tiny_model


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; skips where none is installed."""
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    with running_postgres(programs) as server:
        yield server


@pytest.fixture(scope="session")
def milvus() -> Iterator[Milvus]:
    """A server that speaks Milvus's protocol; skips where none is installed."""
    program = server_program()
    if program is None:
        pytest.skip("milvus-lite is not installed")
    with running_milvus(program) as address:
        yield address


@pytest.fixture(params=LOCATIONS)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """Of a gallery that is not there yet, in every kind of database in turn."""
    if request.param == "sqlite":
        yield tmp_path / "gallery.sqlite"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    milvus = request.getfixturevalue("milvus") if request.param == "cluster" else None
    name = f"gallery_{uuid4().hex}"
    yield server.create_database(name, milvus)
    # All at once at the end, it would take longer than a test may.
    server.drop_database(name)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of model families: family "default", version "1", points "standard", "paper"."""
    models = tmp_path_factory.mktemp("models")
    write_tiny_model(models, tmp_path_factory.mktemp("scratch"))
    return models


@pytest.fixture(scope="session")
def tiny_model(tiny_models: Path) -> ModelDirectory:
    """The one model in `tiny_models`."""
    return ModelDirectory.load(tiny_models, FAMILY)
