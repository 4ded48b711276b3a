"""Fixtures that tests of all kinds share."""

from pathlib import Path

import pytest

from shared.model_directory import ModelDirectory
from tests.tiny_model import FAMILY, write_tiny_model


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
