"""The record format of archives: framing and checksums.

::

    archive = magic, header record, (subject record, face record ...) ..., end record
    record  = kind (1 byte), length of the payload (4), payload, CRC-32 of all before it (4)
    payload = one line of JSON, then bytes that its kind defines

Numbers are big-endian. The end record holds the counts and the SHA-256 of all preceding bytes, so
that truncation is detected. docs/gallery-archive.md specifies the format.
"""

import hashlib
import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from shared.errors import InvalidInput

MAGIC = b"\x89CFG\r\n\x1a\n"
"""Like PNG's signature, it reveals transfers in text mode."""
MAX_PAYLOAD_BYTES = 1 << 20

_HEAD = struct.Struct(">cI")
_CRC = struct.Struct(">I")


class Kind(Enum):
    """Record kinds."""

    HEADER = b"H"
    SUBJECT = b"S"
    FACE = b"F"
    END = b"E"


@dataclass(frozen=True, slots=True)
class Record:
    """One record with a valid checksum.

    Attributes:
        kind: the record kind.
        number: its 1-based index in the archive.
        offset: its first byte in the archive, 0-based.
        document: the line of JSON, an object.
        blob: the bytes after it.
    """

    kind: Kind
    number: int
    offset: int
    document: Mapping[str, Any]
    blob: bytes

    def damaged(self, what: str) -> InvalidInput:
        """Return the error for an invalid record."""
        return _damaged(self.number, self.offset, what)


class RecordWriter:
    """Frames the records of one archive, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._counts: Counter[Kind] = Counter()

    def header(self, document: Mapping[str, Any]) -> bytes:
        """Return the magic and the header record."""
        self._digest.update(MAGIC)
        return MAGIC + self.record(Kind.HEADER, document)

    def record(self, kind: Kind, document: Mapping[str, Any], blob: bytes = b"") -> bytes:
        """Return the next record."""
        payload = json.dumps(document, allow_nan=False).encode() + b"\n" + blob
        head = _HEAD.pack(kind.value, len(payload)) + payload
        framed = head + _CRC.pack(zlib.crc32(head))
        self._digest.update(framed)
        self._counts[kind] += 1
        return framed

    def end(self) -> bytes:
        """Return the end record."""
        return self.record(Kind.END, _summary(self._counts, self._digest.hexdigest()))


class RecordReader:
    """Splits an archive into records incrementally; holds one record at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0
        self._number = 0  # of the last record read
        self._digest = hashlib.sha256()
        self._counts: Counter[Kind] = Counter()
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """Yield the records that these bytes complete, except the end record.

        Raises:
            InvalidInput: NOT_AN_ARCHIVE, or ARCHIVE_DAMAGED with the record and byte.
        """
        self._buffer += chunk
        if not self._offset and not self._take_magic():
            return
        while record := self._next():
            yield record
        if self._ended and self._buffer:
            raise self._here("it comes after the end record")

    def finish(self) -> None:
        """Check that the archive is complete, after its last byte.

        Raises:
            InvalidInput: ARCHIVE_INCOMPLETE; the end record is missing.
        """
        if not self._ended:
            end = self._offset + len(self._buffer)
            raise InvalidInput(
                "ARCHIVE_INCOMPLETE",
                f"the archive ends at byte {end}, after {self._number} whole records and without "
                "its end record; it was cut short",
                field="chunk",
                metadata={"record": str(self._number + 1), "offset": str(self._offset)},
            )

    def _take_magic(self) -> bool:
        if not MAGIC.startswith(bytes(self._buffer[: len(MAGIC)])):
            raise InvalidInput(
                "NOT_AN_ARCHIVE",
                f"the first bytes are {bytes(self._buffer[:8]).hex(' ')}; an archive begins with "
                f"{MAGIC.hex(' ')}",
                field="chunk",
            )
        if len(self._buffer) < len(MAGIC):
            return False
        self._consume(len(MAGIC))
        return True

    def _next(self) -> Record | None:
        """Return the next record; None if it is incomplete or the archive has ended."""
        if self._ended or len(self._buffer) < _HEAD.size:
            return None
        kind, length = _HEAD.unpack_from(self._buffer)
        if length > MAX_PAYLOAD_BYTES:
            raise self._here(f"its length is {length}; at most {MAX_PAYLOAD_BYTES} are written")
        size = _HEAD.size + length + _CRC.size
        if len(self._buffer) < size:
            return None
        return self._take(kind, size)

    def _take(self, kind: bytes, size: int) -> Record | None:
        body, (crc,) = self._buffer[: size - _CRC.size], _CRC.unpack_from(self._buffer, size - 4)
        if zlib.crc32(body) != crc:
            raise self._here("its checksum does not match its content")
        record = self._parse(kind, bytes(body[_HEAD.size :]))
        if record.kind is Kind.END:
            self._check_end(record)
        self._consume(size)
        self._number += 1
        self._counts[record.kind] += 1
        return None if self._ended else record

    def _parse(self, kind: bytes, payload: bytes) -> Record:
        line, _, blob = payload.partition(b"\n")
        try:
            document = _read_json(line)
            known = Kind(kind)
        except (ValueError, RecursionError):
            raise self._here("it was written in a way that this program does not know") from None
        if not isinstance(document, dict):
            raise self._here("it does not begin with a JSON object")
        return Record(known, self._number + 1, self._offset, document, blob)

    def _check_end(self, record: Record) -> None:
        expected = _summary(self._counts, self._digest.hexdigest())
        if record.document != expected:
            raise record.damaged(
                f"counts or digest are not those of what came before it: {dict(record.document)} "
                f"where {expected} was read"
            )
        self._ended = True

    def _consume(self, size: int) -> None:
        self._digest.update(self._buffer[:size])
        del self._buffer[:size]
        self._offset += size

    def _here(self, what: str) -> InvalidInput:
        return _damaged(self._number + 1, self._offset, what)


def _read_json(line: bytes) -> Any:
    """Parse a document as strictly as `RecordWriter` writes it.

    Raises:
        ValueError: it is not JSON in UTF-8, or holds NaN, an infinity or a lone surrogate.
        RecursionError: it is nested too deeply.
    """
    document = json.loads(line.decode())
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    return document


def _summary(counts: Counter[Kind], digest: str) -> dict[str, Any]:
    return {"subjects": counts[Kind.SUBJECT], "faces": counts[Kind.FACE], "sha256": digest}


def _damaged(number: int, offset: int, what: str) -> InvalidInput:
    return InvalidInput(
        "ARCHIVE_DAMAGED",
        f"record {number} at byte {offset} of the archive is damaged: {what}",
        field="chunk",
        metadata={"record": str(number), "offset": str(offset)},
    )
