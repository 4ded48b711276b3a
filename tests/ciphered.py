"""Keys of encrypted files, and what such a file holds for whoever has the key."""

from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from recognizer_service.gallery.storage.locations import EncryptedFile
from shared.sqlite_files import PAGE_BYTES
from shared.storage_key import KeySource, StorageKey

KEY, OTHER_KEY = StorageKey(bytes(range(32))), StorageKey(bytes(range(1, 33)))
_IV, _TAG = 16, 64  # at the end of each page
_FRAME_HEADER, _LOG_HEADER = 24, 32


def key_file(folder: Path, key: StorageKey = KEY, *, name: str = "key") -> str:
    """Write a key to a private file; returns it as a source of keys."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"{key.secret.hex()}\n")
    path.chmod(0o600)
    return f"file:{path}"


def encrypted(path: Path, key: StorageKey = KEY) -> EncryptedFile:
    """The location of an encrypted gallery; its key is beside its folder."""
    keys = path.parent.with_name(f"{path.parent.name}-keys")
    return EncryptedFile(path, KeySource.parse(key_file(keys, key, name=key.salt.hex())))


def decrypted(path: Path, key: StorageKey = KEY) -> bytes:
    """All pages of a database and its log as plain text, with the free space in them."""
    pages = path.read_bytes()
    plain = [
        _plain(pages[start : start + PAGE_BYTES], key, first=start == 0)
        for start in range(0, len(pages), PAGE_BYTES)
    ]
    log = path.with_name(f"{path.name}-wal")
    frames = log.read_bytes() if log.exists() else b""
    step = _FRAME_HEADER + PAGE_BYTES
    for start in range(_LOG_HEADER, len(frames) - step + 1, step):
        number = int.from_bytes(frames[start : start + 4])
        page = frames[start + _FRAME_HEADER : start + step]
        plain.append(_plain(page, key, first=number == 1))
    return b"".join(plain)


def _plain(page: bytes, key: StorageKey, *, first: bool) -> bytes:
    begin = len(key.salt) if first else 0
    content, tail = page[begin : -_IV - _TAG], page[-_IV - _TAG :]
    return Cipher(AES256(key.secret), CBC(tail[:_IV])).decryptor().update(content)
