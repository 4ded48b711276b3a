"""Texts: permitted characters, normalization, and case folding for search.

Names need more than ASCII letters and spaces: the ideographic space of Japanese, the no-break
spaces of French, the joiners of Persian, Sinhala and Malayalam. Characters that could deceive
readers are refused: control characters, line ends and bidirectional overrides.
"""

import unicodedata

_JOINERS = "\u200c\u200d\u180e"  # non-joiner, joiner, and the Mongolian vowel separator
_IDEOGRAPHS = range(0x20000, 0x3FFFE)
"""Reserved for Chinese characters, which most versions of Unicode extend."""
_NONCHARACTERS = (0xFFFE, 0xFFFF)


def unwanted(text: str) -> str:
    """Return the first forbidden character of a text; "" if there is none."""
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
    """Return whether a text has no space at its ends and a visible character."""
    return text == text.strip() and bool(text.strip(_JOINERS))


def canonical(text: str) -> str:
    """One spelling (NFC) of those that Unicode calls the same, as "e\u0301" and "\u00e9" are."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Return the form that a search compares: without case, joiners and compatibility variants."""
    if text.isascii():
        return text.lower()
    plain = text.translate(_WITHOUT_JOINERS)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", plain).casefold())


_WITHOUT_JOINERS = dict.fromkeys(map(ord, _JOINERS))
