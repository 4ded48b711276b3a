"""Overwrites the free space in the pages of a SQLite file, which may hold deleted data.

`secure_delete` overwrites rows when they are deleted. But when SQLite moves rows between pages to
balance its trees, their old bytes remain in the unallocated space between a page's cell pointers
and its cells; if such a row is deleted later, the old copy stays. VACUUM removes it by writing the
whole file twice. This module overwrites only free space, in place: the unallocated space, the free
blocks between cells, and free pages. SQLite ignores their content, so a crash in the middle is
harmless.

Only pages written since the last scrub can hold such copies, and the write-ahead log lists them.

The first byte identifies the kind of a page. A tree page starts with its type. Other pages (the
overflow of a long row, the list of free pages) start with a page number, whose first byte is 0 or 1
in a file of less than `MAX_PAGES`, and is not a type.

The layout is SQLite's file format, https://sqlite.org/fileformat2.html, sections 1.3, 1.5, 1.6
and 4.1.
"""

import os
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

MAX_PAGES = (1 << 25) - 1
"""Maximum number of pages distinguishable by first byte: 256 GiB in pages of 8 KiB."""

_INTERIOR, _LEAF = {0x02, 0x05}, {0x0A, 0x0D}
_FILE_HEADER_BYTES = 100
_FILE_HEADER = struct.Struct(">16xH2xB11xI16xI")
"""Page size, reserved bytes, first free page, whether it has pointer map pages."""
_PAGE_HEADER = struct.Struct(">BHHH")  # type, first free block, cell count, content start
_NUMBER = struct.Struct(">I")
_TRUNK_HEADER = struct.Struct(">II")  # next trunk, number of leaves
_BLOCK_HEADER = struct.Struct(">HH")  # next free block, size of this one
_LOG_HEADER = struct.Struct(">8xI20x")  # page size
_FRAME_HEADER_BYTES = 24  # the first four hold the page number

Range = tuple[int, int]


class UnknownLayoutError(Exception):
    """A page has an unknown layout; it was left unchanged."""


def logged_pages(log: Path) -> set[int]:
    """Return the page numbers in a write-ahead log and its earlier rounds; empty if missing.

    The caller ensures that nobody writes meanwhile.
    """
    try:
        file = os.open(log, os.O_RDONLY)
    except FileNotFoundError:
        return set()
    try:
        size = os.fstat(file).st_size
        if size < _LOG_HEADER.size:
            return set()
        (page_size,) = _LOG_HEADER.unpack(os.pread(file, _LOG_HEADER.size, 0))
        frame = _FRAME_HEADER_BYTES + page_size
        starts = range(_LOG_HEADER.size, size - frame + 1, frame)
        return {_NUMBER.unpack(os.pread(file, _NUMBER.size, start))[0] for start in starts}
    finally:
        os.close(file)


class Scrubber:
    """Overwrites the free space in the pages of one file.

    The caller ensures that the write-ahead log is empty, that nobody writes meanwhile, and that no
    connection later writes a page from its cache. Overwritten bytes are durable after `os.fsync`.
    """

    def __init__(self, file: int) -> None:
        """Read the file's header.

        Args:
            file: a descriptor of the database file, open for reading and writing. It must not be
                closed while SQLite has the file open: that would drop SQLite's locks (POSIX).

        Raises:
            UnknownLayoutError: the file is larger than `MAX_PAGES`, or has an unexpected layout.
        """
        self._file = file
        header = os.pread(file, _FILE_HEADER.size, 0)
        if len(header) < _FILE_HEADER.size:
            raise UnknownLayoutError("the file has no header")
        size, reserved, self._first_free, parents = _FILE_HEADER.unpack(header)
        self._size = 65536 if size == 1 else size
        self._usable = self._size - reserved
        if parents:
            raise UnknownLayoutError("the file lists the parents of its pages (auto_vacuum)")
        if self.pages > MAX_PAGES:
            raise UnknownLayoutError(f"the file has {self.pages} pages, more than {MAX_PAGES}")

    @property
    def pages(self) -> int:
        """Number of pages of the file."""
        return os.fstat(self._file).st_size // self._size

    def free_pages(self) -> set[int]:
        """Return the free pages; scrubs the pages that list them."""
        free: set[int] = set()
        trunks: set[int] = set()
        number = self._first_free
        while number:
            if number in trunks:
                raise UnknownLayoutError(f"page {number} is twice in the list of free pages")
            trunks.add(number)
            trunk = self._read(number)
            following, count = _TRUNK_HEADER.unpack_from(trunk)
            end = _TRUNK_HEADER.size + _NUMBER.size * count
            if end > self._size:
                raise UnknownLayoutError(f"page {number} lists {count} free pages")
            free.update(leaf for (leaf,) in _NUMBER.iter_unpack(trunk[_TRUNK_HEADER.size : end]))
            self._clear(number, trunk, [(end, self._size)])
            number = following
        return free

    def scrub(self, numbers: Iterable[int], *, free: Collection[int] = ()) -> None:
        """Overwrite the free space in these pages, and the whole content of those that are `free`.

        Raises:
            UnknownLayoutError: a page has an unexpected layout.
        """
        last = self.pages
        for number in numbers:
            if not 1 <= number <= last:  # the file was truncated in the meantime
                continue
            page = self._read(number)
            if number in free:
                self._clear(number, page, [(0, self._size)])
            elif page[_start(number)] in _INTERIOR | _LEAF:
                self._clear(
                    number, page, [_gap(page, number, self._usable), *_blocks(page, number)]
                )

    def _read(self, number: int) -> bytes:
        page = os.pread(self._file, self._size, (number - 1) * self._size)
        if len(page) < self._size:
            raise UnknownLayoutError(f"page {number} is not there")
        return page

    def _clear(self, number: int, page: bytes, free: Iterable[Range]) -> None:
        for start, end in free:
            if page.count(0, start, end) != end - start:
                os.pwrite(self._file, bytes(end - start), (number - 1) * self._size + start)


def _start(number: int) -> int:
    """Return the offset of a tree page's header."""
    return _FILE_HEADER_BYTES if number == 1 else 0


def _gap(page: bytes, number: int, usable: int) -> Range:
    """Return the unallocated space between the cell pointers and the cells."""
    kind, _, cells, content = _PAGE_HEADER.unpack_from(page, _start(number))
    cell_list = _start(number) + (12 if kind in _INTERIOR else 8)
    start, end = cell_list + 2 * cells, content or 65536
    if not start <= end <= usable:
        raise UnknownLayoutError(f"page {number} has {cells} cells, and their content at {content}")
    return start, end


def _blocks(page: bytes, number: int) -> Iterator[Range]:
    """Yield the contents of the free blocks between cells, without their headers."""
    _, block, _, content = _PAGE_HEADER.unpack_from(page, _start(number))
    least = content or 65536
    while block:
        if not least <= block <= len(page) - _BLOCK_HEADER.size:
            raise UnknownLayoutError(f"page {number} has a free block at {block}")
        following, size = _BLOCK_HEADER.unpack_from(page, block)
        if size < _BLOCK_HEADER.size or block + size > len(page):
            raise UnknownLayoutError(f"page {number} has a free block of {size} bytes")
        yield block + _BLOCK_HEADER.size, block + size
        least, block = block + size, following
