"""Where tests keep a gallery; the fixture `location` in conftest.py goes through all of them."""

from pathlib import Path

import pytest

Location = Path | str
"""A SQLite file, or the URL of a PostgreSQL database."""

LOCATIONS = ("sqlite", "postgres")

only_in_sqlite = pytest.mark.parametrize("location", ["sqlite"], indirect=True)
"""For tests that look into the file."""
