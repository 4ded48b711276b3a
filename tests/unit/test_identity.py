"""Who calls, by the certificate."""

import pytest

from recognizer_service.api.identity import certified_name


class Caller:
    """What a call tells of its certificate."""

    def __init__(self, *names: bytes) -> None:
        self._names = names

    def auth_context(self) -> dict[str, tuple[bytes, ...]]:
        return {"x509_common_name": self._names} if self._names else {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Eingang\u00a0Süd", "Eingang\u00a0Süd"),
        ("山田\u3000太郎", "山田\u3000太郎"),
        ("gate\n\x00", "gate\ufffd\ufffd"),
        ("a\u202eb", "a\ufffdb"),  # turns the direction of the text
        ("x" * 200, "x" * 128),
    ],
)
def test_a_certificates_name_keeps_what_names_need(name: str, expected: str) -> None:
    assert certified_name(Caller(name.encode())) == expected


def test_without_a_certificate_there_is_no_name() -> None:
    assert certified_name(Caller()) is None
