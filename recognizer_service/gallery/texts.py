"""Texts of people: which characters they may hold, when two are the same, and how they are found.

Names of the world need more than letters and the space of ASCII: the wide space of Japanese, the
spaces that French does not break lines at, the joiners that Persian, Sinhala and Malayalam are
spelled with. What they do not need is what would deceive whoever reads them: control characters,
line ends, and the marks that turn the direction of the text after them around.
"""

import unicodedata

_JOINERS = "\u200c\u200d\u180e"  # non-joiner, joiner, and the vowel separator of Mongolian
_IDEOGRAPHS = range(0x20000, 0x3FFFE)
"""Set aside for Chinese characters, of which every version of Unicode brings some."""
_NONCHARACTERS = (0xFFFE, 0xFFFF)


def unwanted(text: str) -> str:
    """The first character that no text of ours may hold; "" if there is none."""
    if text.isprintable():
        return ""
    return next((character for character in text if not _is_wanted(character)), "")


def _is_wanted(character: str) -> bool:
    code = ord(character)
    return (
        character.isprintable()
        or unicodedata.category(character) == "Zs"
        or character in _JOINERS
        or (code in _IDEOGRAPHS and code & 0xFFFF not in _NONCHARACTERS)
    )


def is_bare(text: str) -> bool:
    """Whether a text begins and ends with something other than space, and shows something."""
    return text == text.strip() and bool(text.strip(_JOINERS))


def canonical(text: str) -> str:
    """One spelling (NFC) of those that Unicode calls the same, as "e\u0301" and "\u00e9" are."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """What a search compares: without case, joiners, and ways to write the same character."""
    if text.isascii():
        return text.lower()
    plain = text.translate(_WITHOUT_JOINERS)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", plain).casefold())


_WITHOUT_JOINERS = dict.fromkeys(map(ord, _JOINERS))
