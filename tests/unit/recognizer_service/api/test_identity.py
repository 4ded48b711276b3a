"""Who calls, as the gallery writes it down."""

import pytest

from recognizer_service.api import identity
from shared.serving.access_file import Caller, Role

NOTHING = Role(scopes=frozenset(), collections=frozenset())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Eingang\u00a0Süd", "Eingang\u00a0Süd"),
        ("山田\u3000太郎", "山田\u3000太郎"),
        ("gate\n\x00", "gate\ufffd\ufffd"),
        ("a\u202eb", "a\ufffdb"),  # turns the direction of the text
    ],
)
def test_a_callers_name_keeps_what_names_need(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setattr(identity, "current_caller", lambda: Caller(name, NOTHING))
    assert identity.caller_name() == expected
