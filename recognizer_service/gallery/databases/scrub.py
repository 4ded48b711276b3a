"""Overwriting what is free in a SQLite file: the space that holds nothing, but once did.

`secure_delete` overwrites rows when they are deleted. But when SQLite moves rows from page to
page to keep its trees in balance, it leaves their old bytes where they were, in the unallocated
space between a page's list of cells and the cells themselves; if such a row is deleted later, the
old copy stays. VACUUM gets rid of it by writing the whole file anew, twice. This overwrites, in
place, only what is free: that space, the free blocks between cells, and free pages. None of it
means anything to SQLite, so that a crash in the middle does no harm.

The layout is SQLite's file format, https://sqlite.org/fileformat2.html, sections 1.3, 1.5 and 1.6.
"""

import os
import struct
from collections.abc import Iterable, Iterator

_INTERIOR, _LEAF = {0x02, 0x05}, {0x0A, 0x0D}
_FILE_HEADER_BYTES = 100
_FILE_HEADER = struct.Struct(">16xH2xB11xI")  # page size, reserved bytes, first free page
_PAGE_HEADER = struct.Struct(">BHHH")  # type, first free block, cells, where their content begins
_CHILD = struct.Struct(">I")
_TRUNK_HEADER = struct.Struct(">II")  # next trunk, its leaves' count
_BLOCK_HEADER = struct.Struct(">HH")  # next free block, bytes of this one

Range = tuple[int, int]


class UnknownLayoutError(Exception):
    """A page is none that this module understands; it was left as it is."""


def scrub(file: int, roots: Iterable[int]) -> None:
    """Overwrite what is free with zeros, down to the disk.

    Whoever calls this sees to it that the write-ahead log is empty, that nobody writes meanwhile,
    and that no connection writes a page later that it had in its cache before.

    Args:
        file: a descriptor of the database file, open for reading and writing. It must not be
            closed while SQLite has the file open: that would drop SQLite's own locks (POSIX).
        roots: number of the root page of every table and index.

    Raises:
        UnknownLayoutError: a page is not as expected.
    """
    size, reserved, first_free = _FILE_HEADER.unpack(os.pread(file, _FILE_HEADER.size, 0))
    pages = _Pages(file, size=65536 if size == 1 else size)
    waiting = [*roots]
    while waiting:
        number = waiting.pop()
        page = pages.read(number)
        pages.clear(
            number, page, [_gap(page, number, pages.size - reserved), *_blocks(page, number)]
        )
        waiting += _children(page, number)
    while first_free:
        trunk = pages.read(first_free)
        following, count = _TRUNK_HEADER.unpack_from(trunk)
        end = _TRUNK_HEADER.size + 4 * count
        for (leaf,) in _CHILD.iter_unpack(trunk[_TRUNK_HEADER.size : end]):
            pages.clear(leaf, pages.read(leaf), [(0, pages.size)])
        pages.clear(first_free, trunk, [(end, pages.size)])
        first_free = following
    os.fsync(file)


class _Pages:
    """The pages of a file, numbered from 1. None is read twice, or the file is no proper one."""

    def __init__(self, file: int, *, size: int) -> None:
        self.size = size
        self._file = file
        self._unread = os.fstat(file).st_size // size

    def read(self, number: int) -> bytes:
        self._unread -= 1
        page = os.pread(self._file, self.size, (number - 1) * self.size)
        if self._unread < 0 or len(page) < self.size:
            raise UnknownLayoutError(f"page {number} is not there, or is part of two structures")
        return page

    def clear(self, number: int, page: bytes, free: Iterable[Range]) -> None:
        for start, end in free:
            if page.count(0, start, end) != end - start:
                os.pwrite(self._file, bytes(end - start), (number - 1) * self.size + start)


def _header(page: bytes, number: int) -> tuple[int, int, int, int, int]:
    """Where the header of a tree's page ends, and what it says."""
    start = _FILE_HEADER_BYTES if number == 1 else 0
    kind, free_block, cells, content = _PAGE_HEADER.unpack_from(page, start)
    if kind not in _INTERIOR | _LEAF:
        raise UnknownLayoutError(f"page {number} has type {kind}")
    return start + (12 if kind in _INTERIOR else 8), kind, free_block, cells, content or 65536


def _gap(page: bytes, number: int, usable: int) -> Range:
    """The unallocated space between the list of cells and the cells."""
    cell_list, _, _, cells, content = _header(page, number)
    start = cell_list + 2 * cells
    if not start <= content <= usable:
        raise UnknownLayoutError(f"page {number} has {cells} cells, and their content at {content}")
    return start, content


def _blocks(page: bytes, number: int) -> Iterator[Range]:
    """What the free blocks between cells hold besides their headers."""
    _, _, block, _, content = _header(page, number)
    least = content
    while block:
        if not least <= block <= len(page) - _BLOCK_HEADER.size:
            raise UnknownLayoutError(f"page {number} has a free block at {block}")
        following, size = _BLOCK_HEADER.unpack_from(page, block)
        if size < _BLOCK_HEADER.size or block + size > len(page):
            raise UnknownLayoutError(f"page {number} has a free block of {size} bytes")
        yield block + _BLOCK_HEADER.size, block + size
        least, block = block + size, following


def _children(page: bytes, number: int) -> list[int]:
    """The pages below a page."""
    cell_list, kind, _, cells, _ = _header(page, number)
    if kind in _LEAF:
        return []
    pointers = struct.unpack_from(f">{cells}H", page, cell_list)
    return [_CHILD.unpack_from(page, at)[0] for at in (cell_list - 4, *pointers)]
