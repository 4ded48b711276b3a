"""Overwriting what is free in pages of a SQLite file: the space that holds nothing, but once did.

`secure_delete` overwrites rows when they are deleted. But when SQLite moves rows from page to
page to keep its trees in balance, it leaves their old bytes where they were, in the unallocated
space between a page's list of cells and the cells themselves; if such a row is deleted later, the
old copy stays. VACUUM gets rid of it by writing the whole file anew, twice. This overwrites, in
place, only what is free: that space, the free blocks between cells, and free pages. None of it
means anything to SQLite, so that a crash in the middle does no harm.

Only pages that were written since they were scrubbed last can hold such copies, and the
write-ahead log names them.

A page is known by its first byte. That of a tree's page is its type. Pages of other kinds (the
overflow of a long row, the list of free pages) begin with a page number, whose first byte is 0 or 1
in a file of less than `MAX_PAGES`, and no type.

The layout is SQLite's file format, https://sqlite.org/fileformat2.html, sections 1.3, 1.5, 1.6
and 4.1.
"""

import os
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

MAX_PAGES = (1 << 25) - 1
"""Of a file whose pages can be told apart by their first byte: 256 GiB of pages of 8 KiB."""

_INTERIOR, _LEAF = {0x02, 0x05}, {0x0A, 0x0D}
_FILE_HEADER_BYTES = 100
_FILE_HEADER = struct.Struct(">16xH2xB11xI16xI")
"""Page size, reserved bytes, first free page, whether it has pages that list parents."""
_PAGE_HEADER = struct.Struct(">BHHH")  # type, first free block, cells, where their content begins
_NUMBER = struct.Struct(">I")
_TRUNK_HEADER = struct.Struct(">II")  # next trunk, its leaves' count
_BLOCK_HEADER = struct.Struct(">HH")  # next free block, bytes of this one
_LOG_HEADER = struct.Struct(">8xI20x")  # page size
_FRAME_HEADER_BYTES = 24  # the first four are the page's number

Range = tuple[int, int]


class UnknownLayoutError(Exception):
    """A page is none that this module understands; it was left as it is."""


def logged_pages(log: Path) -> set[int]:
    """Numbers of the pages in a write-ahead log, older rounds of it included; none if it is gone.

    Whoever calls this sees to it that nobody writes meanwhile.
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
    """Overwrites what is free in the pages of one file.

    Whoever calls its methods sees to it that the write-ahead log is empty, that nobody writes
    meanwhile, and that no connection writes a page later that it had in its cache before. What was
    overwritten is on the disk after `os.fsync`.
    """

    def __init__(self, file: int) -> None:
        """Read the file's header.

        Args:
            file: a descriptor of the database file, open for reading and writing. It must not be
                closed while SQLite has the file open: that would drop SQLite's locks (POSIX).

        Raises:
            UnknownLayoutError: the file is larger than `MAX_PAGES`, or not laid out as ours are.
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
        """How many pages the file has."""
        return os.fstat(self._file).st_size // self._size

    def free_pages(self) -> set[int]:
        """The pages that hold nothing; those that list them are scrubbed at once."""
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
        """Overwrite what is free in these pages, and all of those that are `free` altogether.

        Raises:
            UnknownLayoutError: a page is not as expected.
        """
        last = self.pages
        for number in numbers:
            if not 1 <= number <= last:  # the file was cut since
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
    """Where the header of a tree's page begins."""
    return _FILE_HEADER_BYTES if number == 1 else 0


def _gap(page: bytes, number: int, usable: int) -> Range:
    """The unallocated space between the list of cells and the cells."""
    kind, _, cells, content = _PAGE_HEADER.unpack_from(page, _start(number))
    cell_list = _start(number) + (12 if kind in _INTERIOR else 8)
    start, end = cell_list + 2 * cells, content or 65536
    if not start <= end <= usable:
        raise UnknownLayoutError(f"page {number} has {cells} cells, and their content at {content}")
    return start, end


def _blocks(page: bytes, number: int) -> Iterator[Range]:
    """What the free blocks between cells hold besides their headers."""
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
