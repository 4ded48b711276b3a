"""Names and ids of the world: taken, kept as they were given, and found however they are typed."""

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.limits import folded
from recognizer_service.gallery.types import SubjectFilter
from shared.errors import AlreadyExists, InvalidInput
from tests.gallery_faces import SPACE, from_similarity, person

NAMES = [
    "山田\u3000太郎",
    "علی\u200cرضا",
    "ශ්\u200dරීමා",
    "രാജന്\u200d",  # ends with a joiner, as Malayalam was spelled before Unicode 5.1
    "Jean\u00a0Dupont",
    "Jean\u202fDupont",
    "ᠰᠠᠷᠠ\u180eᠠ",
    "O’Brien-Ñandú",
    "神\ufa19",  # an ideograph that NFC would replace
    "\U0002b81d",
    "\U00031350",  # newer than some Unicode tables
    "Nguyễn Thị Minh Khai",
    "Nguye\u0302\u0303n",
]
REFUSED = [
    "a\nb", "a\0b", "a\tb", "a\x7fb", "a\x85b", "a\u2028b", "a\u2029b", "a\u202eb", "a\u202ab",
    "a\u2066b", "a\u2069b", "a\ufeffb", "a\ud800b", "a\ufffeb", "a\U0002fffeb", "a\U000e0041b",
]  # fmt: skip


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "gallery.sqlite", embedding_space=SPACE) as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
def test_names_are_taken_as_ids_and_names_and_come_back_as_they_were(
    gallery: Gallery, name: str
) -> None:
    enrolment = replace(person(1, subject_id=name, name=name), metadata={"as it is": name})
    gallery.enroll("default", replace(enrolment, labels=(name,)), request_id=name)
    (subject,) = gallery.subjects.list("default").items
    assert (subject.display_name, subject.metadata) == (name, {"as it is": name})
    assert subject.subject_id == unicodedata.normalize("NFC", name)
    assert gallery.subjects.get("default", name)[0] == subject
    for only in (
        SubjectFilter(name_contains=name),
        SubjectFilter(id_prefix=name),
        SubjectFilter(labels=(name,)),
    ):
        assert gallery.subjects.list("default", only=only).items == (subject,)


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_what_deceives_its_reader_is_refused_and_named(gallery: Gallery, text: str) -> None:
    code = f"U\\+{ord(text[1]):04X}"
    for enrolment in (
        person(1, subject_id=text),
        person(1, name=text),
        replace(person(1), labels=(text,)),
        replace(person(1), metadata={"a": text}),
        replace(person(1), metadata={text: "a"}),
    ):
        with pytest.raises(InvalidInput, match=code) as refused:
            gallery.enroll("default", enrolment)
        assert refused.value.reason == "UNPRINTABLE_TEXT"


@pytest.mark.parametrize("text", [" a", "a ", "\u3000a", "a\u00a0", "a\u202f", " ", "\u200d"])
def test_an_id_with_a_space_at_an_end_is_refused(gallery: Gallery, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        gallery.enroll("default", person(1, subject_id=text))
    assert (refused.value.reason, refused.value.field) == ("SPACE_AT_END", "subject_id")
    with pytest.raises(InvalidInput):
        gallery.enroll("default", person(1), request_id=text)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_spellings_of_an_id_are_one_subject(gallery: Gallery, form: str) -> None:
    def spelled(text: str) -> str:
        return unicodedata.normalize("NFD" if form == "NFC" else "NFC", text)

    name = unicodedata.normalize(form, "José Nguyễn 각")
    first = gallery.enroll("default", person(1, subject_id=name), request_id="r")
    again = gallery.enroll("default", person(1, subject_id=spelled(name)), request_id="r")
    assert again.repeated
    added = gallery.enroll("default", person(2, subject_id=spelled(name)))
    assert (added.subject.subject_id, added.subject.face_count) == (first.subject.subject_id, 2)
    with pytest.raises(AlreadyExists):
        gallery.enroll("default", replace(person(3, subject_id=spelled(name)), create_only=True))
    gallery.enroll(  # no duplicate of itself
        "default", person(1, subject_id=spelled(name)), duplicates=from_similarity(0.9)
    )
    gallery.subjects.update("default", spelled(name), display_name="J")
    probe = person(1).faces[0].embedding
    assert gallery.similarity_to_subject("default", spelled(name), probe).similarity > 0.99
    assert len(gallery.subjects.list_faces("default", spelled(name))) == 3
    gallery.subjects.delete("default", spelled(name))
    for spelling in (name, spelled(name)):
        events = gallery.audit.list(subject_id=spelling).items
        assert [event.operation for event in events[-2:]] == ["update_subject", "delete_subject"]
        assert len(events) == 5


def test_labels_in_both_spellings_are_one(gallery: Gallery) -> None:
    gallery.enroll("default", replace(person(1), labels=("e\u0301", "\u00e9")))
    (subject,) = gallery.subjects.list("default", only=SubjectFilter(labels=("e\u0301",))).items
    assert subject.labels == ("\u00e9",)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Jose\u0301", "jos\u00e9"),
        ("Jos\u00e9", "JOSE\u0301"),
        ("Γιώργος", "γιώργοσ"),
        ("Łukasz", "łuk"),
        ("Straße", "STRASSE"),
        ("山田\u3000太郎", "山田 太郎"),
        ("Jean\u00a0Dupont", "jean dupont"),
        ("علی\u200cرضا", "علیرضا"),
        ("ﾔﾏﾀﾞ", "ヤマダ"),
        ("50%_off", "%_"),
    ],
)
def test_search_finds_a_name_however_it_is_typed(gallery: Gallery, name: str, typed: str) -> None:
    gallery.enroll("default", person(1, name=name))
    gallery.enroll("default", person(2, name="somebody else"))
    found = gallery.subjects.list("default", only=SubjectFilter(name_contains=typed)).items
    assert [subject.display_name for subject in found] == [name]


def test_folding_is_stable() -> None:
    for name in NAMES:
        assert folded(folded(name)) == folded(name)
