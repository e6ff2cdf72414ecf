"""The index beside a sealed segment: where its ids are, so that one of them is found without reading the segment.

It is a help and never a witness.  One that is missing, damaged, or was made for another file than the one beside it is
passed over, and the segment is read as if there were none.  It also repeats the segment's header, which costs a
decompression to read from the segment itself.  `docs/format.md` describes its bytes.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from walcore._core.encode import crc32c
from walcore._core.ids import IdRun, blocks_in, key_of, pages_with
from walcore.files import inherit, open_and_look, told, write_all
from walcore.format import CRC_SIZE, INDEX_SUFFIX, LENGTH_SIZE, TEMPORARY_SUFFIX
from walcore.headers import MAX_HEADER_BYTES, Header, Segment, parse_header
from walcore.sources import codec
from walcore.system import calls, read_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from walcore.segments import Directory

MIN_SEALED_BYTES: Final = 16 * 1024
"""A smaller sealed segment is read as fast as its index."""
BLOCK_BYTES: Final = 512 * 1024
"""So many plain bytes, and the rest of a frame, lie between two places at which decompressing can begin."""
TAIL_BYTES: Final = 8
"""Of a sealed file, kept by its index: CRC-32 and size of the plain bytes tell it from another."""
# What an index may take of its segment's size.
_SHARE: Final = 0.1
# Ids held before they are written, 16 bytes each while they are sorted.  A search looks at a page of each run.
_RUN_IDS: Final = 1 << 17
# A block above this holds a large frame, which isn't gathered in memory on an index's word.
_MOST_BLOCK_BYTES: Final = 4 * BLOCK_BYTES
_MOST_PAGE_BYTES: Final = 16 * 1024
# Who has to look into more reads the segment: nobody's memory is filled with places to look.
_MOST_BLOCKS: Final = 1024
# One reading of so many bytes has all but the pages of most indexes.
_FOOT_BYTES: Final = 24 * 1024
_MOST_FOOT_BYTES: Final = 8 * 1024 * 1024

_MOST_KEY: Final = 2**32 - 1

_MAGIC: Final = b"walidx\x00\x01"
_TELLS: Final = 1
# Magic, size and last bytes of the sealed file; flags; how many bytes of header, boundaries of blocks, and runs.
_HEAD: Final = struct.Struct("<8sQ8sIIII")
# Of a block: offset in the sealed file, offset in the plain bytes.
_BOUNDARY: Final = struct.Struct("<QQ")
# Lowest and highest id, bits left out of its keys, how many pages.
_RUN: Final = struct.Struct("<iiII")
_PAGE: Final = struct.Struct("<II")
_END: Final = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Block:
    """Whole frames that can be decompressed by themselves: bytes `start` to `end` of the file, `size` bytes plain."""

    start: int
    end: int
    size: int


@dataclass(frozen=True, slots=True)
class Index:
    """An index as its foot tells; `tells` is false where it says nothing of ids.  `size` is that of its file."""

    header: Header
    sealed_size: int
    sealed_tail: bytes
    tells: bool
    size: int
    pages_end: int
    boundaries: bytes
    runs: tuple[tuple[int, int, int, bytes], ...]
    """Lowest and highest id, shift, table of pages."""

    def fits(self, sealed: int, size: int) -> bool:
        """Whether this is the index of the open file `sealed` of `size` bytes."""
        if size != self.sealed_size or size < TAIL_BYTES:
            return False
        return read_at(sealed, TAIL_BYTES, size - TAIL_BYTES) == self.sealed_tail

    @property
    def block_count(self) -> int:
        """How many blocks there are; 0 if decompressing can only begin at the file's beginning."""
        return max(0, len(self.boundaries) // _BOUNDARY.size - 1)

    def block(self, number: int) -> Block:
        """One of them.  Raises ValueError if it is damaged."""
        start, before = _BOUNDARY.unpack_from(self.boundaries, number * _BOUNDARY.size)
        end, behind = _BOUNDARY.unpack_from(self.boundaries, (number + 1) * _BOUNDARY.size)
        if not start < end <= self.sealed_size or not before < behind:
            msg = "blocks out of order"
            raise ValueError(msg)
        return Block(start, end, behind - before)

    def numbers(self, fd: int, id: int) -> set[int]:
        """The numbers of the blocks in which `id` can be; `fd` is the index, open.  Raises ValueError if damaged."""
        found: set[int] = set()
        for at, (lowest, highest, shift, table) in enumerate(self.runs):
            if lowest <= id <= highest:
                key = key_of(id, shift)
                for first_key, page in self._pages(fd, at, *pages_with(table, key)):
                    found.update(blocks_in(page, first_key, key))
        return found

    def check(self, fd: int) -> None:
        """Look at every block and read every page of the index, open as `fd`.  Raises ValueError if one is damaged."""
        for number in range(self.block_count):
            self.block(number)
        for at, (*_, table) in enumerate(self.runs):
            for first_key, page in self._pages(fd, at, 0, len(table) // _PAGE.size):
                blocks_in(page, first_key, _MOST_KEY)

    def _pages(self, fd: int, run: int, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """The pages from `first` to before `end` of a run, each with its first key."""
        table = self.runs[run][3]
        for number in range(first, end):
            key, offset = _PAGE.unpack_from(table, number * _PAGE.size)
            if (number + 1) * _PAGE.size < len(table):
                behind = _PAGE.unpack_from(table, (number + 1) * _PAGE.size)[1]
            else:
                behind = _PAGE.unpack_from(self.runs[run + 1][3])[1] if run + 1 < len(self.runs) else self.pages_end
            if not 0 < behind - offset <= _MOST_PAGE_BYTES:
                msg = "a page of impossible size"
                raise ValueError(msg)
            yield key, read_at(fd, behind - offset, offset)


def read_index(fd: int, size: int) -> Index | None:
    """The index in an open file of `size` bytes; None if it is none that can be believed.  Raises OSError."""
    data = read_at(fd, min(size, _FOOT_BYTES), max(0, size - _FOOT_BYTES))
    if len(data) < _END.size:
        return None
    foot_size, crc = _END.unpack_from(data, len(data) - _END.size)
    pages_end = size - _END.size - foot_size
    if pages_end < 0 or foot_size > _MOST_FOOT_BYTES:
        return None
    if foot_size + _END.size > len(data):
        data = read_at(fd, foot_size + _END.size, pages_end)
    foot = data[len(data) - _END.size - foot_size : len(data) - _END.size]
    if len(foot) != foot_size or crc32c(foot) != crc:
        return None
    try:
        return _parse(foot, size, pages_end)
    except struct.error:
        return None


def _parse(foot: bytes, size: int, pages_end: int) -> Index | None:
    """Raises struct.error if the foot ends too early."""
    magic, sealed_size, tail, flags, header_size, boundaries, runs = _HEAD.unpack_from(foot)
    if magic != _MAGIC or not 0 < header_size - CRC_SIZE - LENGTH_SIZE <= MAX_HEADER_BYTES:
        return None
    at = _HEAD.size + header_size
    frame = foot[_HEAD.size : at]
    header = parse_header(frame[LENGTH_SIZE:-CRC_SIZE], int.from_bytes(frame[-CRC_SIZE:], "little"))
    if header is None:
        return None
    points = foot[at : at + boundaries * _BOUNDARY.size]
    at += boundaries * _BOUNDARY.size
    kept = []
    table_at = at + runs * _RUN.size
    for _ in range(runs):
        lowest, highest, shift, pages = _RUN.unpack_from(foot, at)
        at += _RUN.size
        if pages == 0:
            return None
        kept.append((lowest, highest, shift, foot[table_at : table_at + pages * _PAGE.size]))
        table_at += pages * _PAGE.size
    if table_at != len(foot):
        return None
    return Index(header, sealed_size, tail, bool(flags & _TELLS), size, pages_end, points, tuple(kept))


class IndexState(StrEnum):
    """What an index is good for; all but SOUND are passed over."""

    NONE = "none"
    SOUND = "sound"
    STALE = "stale"
    DAMAGED = "damaged"


def check_index(directory: Directory, name: str, *, pages: bool) -> tuple[IndexState, int]:
    """State and size in bytes of the index of the sealed segment `name`; without `pages` only its foot is read."""
    size = 0
    try:
        with _Pair(directory, name) as pair:
            size = pair.size
            if pair.index is None:
                return IndexState.DAMAGED, size
            if not pair.fits:
                return IndexState.STALE, size
            if pages:
                pair.index.check(pair.fd)
            return IndexState.SOUND, size
    except OSError:
        return IndexState.NONE, size
    except ValueError:
        return IndexState.DAMAGED, size


class _Pair:
    """An index and its sealed segment, both open.  Raises OSError where either can't be opened or read.

    Of `find` nearly all the time is spent here, eighty times for 10 GB: a file is opened, looked at, read and closed by
    one call each.
    """

    def __init__(self, directory: Directory, name: str) -> None:
        self.fd, status = open_and_look(name + INDEX_SUFFIX, directory.fd)
        self.size = status.st_size
        try:
            self.index = read_index(self.fd, self.size)
            sealed, status = open_and_look(name, directory.fd)
            try:
                self.inode = status.st_ino
                self.fits = self.index is not None and self.index.fits(sealed, status.st_size)
            finally:
                calls.close(sealed)
        except BaseException:
            calls.close(self.fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        calls.close(self.fd)


@dataclass(frozen=True, slots=True)
class Place:
    """A sealed segment, and the blocks in which an id can be; `blocks` is None where only a scan can tell."""

    segment: Segment
    blocks: tuple[Block, ...] | None


def look_up(directory: Directory, name: str, id: int) -> Place | None:
    """Where in the sealed segment `name` records of `id` can be; None on any doubt of its index.

    Two small readings of two files, and one of a page for each run of ids among which `id` can be.
    """
    try:
        with _Pair(directory, name) as pair:
            index = pair.index
            if index is None or not pair.fits:
                return None
            segment = Segment(directory.path / name, name, True, index.sealed_size, pair.inode, index.header)
            return Place(segment, _blocks_for(index, pair.fd, id))
    except (OSError, ValueError):
        return None


def _blocks_for(index: Index, fd: int, id: int) -> tuple[Block, ...] | None:
    """Raises OSError, and ValueError if the index is damaged."""
    if not index.tells:
        return None
    numbers = index.numbers(fd, id)
    if not numbers:
        return ()
    if len(numbers) > _MOST_BLOCKS or max(numbers) >= index.block_count:
        return None
    return tuple(map(index.block, sorted(numbers)))


def read_block(fd: int, block: Block) -> bytes | None:
    """The plain bytes of a block of the open sealed file `fd`; None on any doubt.  Raises OSError."""
    if not 0 < block.size <= _MOST_BLOCK_BYTES or not 0 < block.end - block.start <= 2 * _MOST_BLOCK_BYTES:
        return None
    module = codec()
    try:
        stream = module.decompressobj(-15 if block.start else 31)
        plain: bytes = stream.decompress(read_at(fd, block.end - block.start, block.start), block.size + 1)
    except module.error:
        return None
    return plain if len(plain) == block.size else None


class IndexBuilder:
    """Makes the index of one sealed segment while its frames pass; `ids` is for the decoder.

    What is collected is held in bounded memory and written to a temporary file; what fails there is told by `finish`,
    so that it ends nobody's pass over the segment.  It must be `finish`ed or `abandon`ed.
    """

    def __init__(self, directory: Directory, name: str, header: Header) -> None:
        self.ids = IdRun()
        self._directory = directory
        self._name = name + INDEX_SUFFIX
        self._temporary = self._name + TEMPORARY_SUFFIX
        self._header_size = header.size
        self._header = b""
        self._fd = -1
        self._offset = 0
        self._boundaries: list[tuple[int, int]] = []
        self._runs: list[tuple[int, int, int, bytes]] = []
        self._failure: Exception | None = None

    @property
    def path(self) -> Path:
        """Where the index will be."""
        return self._directory.path / self._name

    def passed(self, frames: memoryview) -> None:
        """Note frames as a FrameReader passes over them."""
        if not self._header:
            self._header = bytes(frames[: self._header_size])

    def boundary(self, sealed: int, plain: int) -> None:
        """A block ends here and the next begins: decompressing can, at offset `sealed`, with the byte `plain`."""
        self._boundaries.append((sealed, plain))
        self.ids.block = len(self._boundaries) - 1

    def relieve(self, source: int) -> None:
        """Write ids that became many; `source` is the segment, open, whose permissions the index gets."""
        if len(self.ids) < _RUN_IDS:
            return
        if self._failure is None:
            try:
                self._write_run(source)
            except (OSError, MemoryError, OverflowError) as exc:
                self._failure = exc
        self.ids.clear()

    def finish(self, source: int, sealed_size: int, sealed_tail: bytes, *, tells: bool = True) -> None:
        """Put the index, on disk, beside its segment; without `tells` one that says that all must be read.

        Raises:
            OSError, MemoryError, OverflowError: there is none, and nothing of it is left.
        """
        try:
            if self._failure is not None:
                raise self._failure
            if tells and len(self.ids):
                self._write_run(source)
            foot = self._foot(sealed_size, sealed_tail, tells=tells)
            if not tells or self._offset + len(foot) > sealed_size * _SHARE:
                self._drop()
                self._runs, self._boundaries = [], []
                foot = self._foot(sealed_size, sealed_tail, tells=False)
            fd = self._open(source)
            with told("write", self._directory.path / self._temporary):
                write_all(fd, foot)
            self._directory.sync_data(fd, self._temporary)
            self._directory.replace(self._temporary, self._name)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leave nothing behind; after `finish` it does nothing."""
        with suppress(OSError):
            self._drop()

    def _foot(self, sealed_size: int, sealed_tail: bytes, *, tells: bool) -> bytes:
        flags = _TELLS if tells else 0
        counts = (flags, len(self._header), len(self._boundaries), len(self._runs))
        parts = [_HEAD.pack(_MAGIC, sealed_size, sealed_tail, *counts), self._header]
        parts += (_BOUNDARY.pack(*boundary) for boundary in self._boundaries)
        parts += (_RUN.pack(low, high, shift, len(table) // _PAGE.size) for low, high, shift, table in self._runs)
        parts += (table for *_, table in self._runs)
        foot = b"".join(parts)
        return foot + _END.pack(len(foot), crc32c(foot))

    def _write_run(self, source: int) -> None:
        shift, lowest, highest, table, pages = self.ids.encode(self._offset)
        fd = self._open(source)
        with told("write", self._directory.path / self._temporary):
            write_all(fd, pages)
        self._offset += len(pages)
        self._runs.append((lowest, highest, shift, table))

    def _open(self, source: int) -> int:
        if self._fd < 0:
            self._fd = self._directory.create(self._temporary)
            inherit(source, self._fd)
        return self._fd

    def _drop(self) -> None:
        fd, self._fd, self._offset = self._fd, -1, 0
        if fd >= 0:
            calls.close(fd)
            self._directory.drop(self._temporary)
