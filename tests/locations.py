"""Where tests keep a gallery; the fixture `location` in conftest.py goes through all of them."""

import pytest

LOCATIONS = ("sqlite", "postgres", "cluster")

only_in_sqlite = pytest.mark.parametrize("location", ["sqlite"], indirect=True)
"""For tests that look into the file."""
