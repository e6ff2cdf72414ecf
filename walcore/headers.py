"""A segment's header, read from its first bytes, and what else is known of a segment without reading it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import ujson

from walcore import format as fmt
from walcore._core.encode import crc32c
from walcore.system import calls, read_at

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

# A header has about 160 bytes.  The limit keeps a damaged length, or a gzip bomb, from making a listing allocate.
MAX_HEADER_BYTES: Final = 64 * 1024
# A uuid has 36; what is no uuid is somebody's own name for a store.
_MAX_STORE_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Header:
    """The first frame of a segment; `crc` is its stored CRC-32C and `size` the bytes of the frame."""

    store: str
    created: int
    number: int
    first_id: int
    crc: int
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A file named like a segment.  Without a readable header, `problem` says why: "empty", "torn header", "a symbolic
    link, not a regular file" (or folder, FIFO, ...), "unreadable: ...".  `size` is that of the file, in bytes.
    """

    path: Path
    name: str
    sealed: bool
    size: int
    inode: int
    header: Header | None
    problem: str | None = None

    @property
    def irregular(self) -> bool:
        """Whether it is no file but a link, folder, FIFO, socket or device, or its name leaves no room for those made
        from it: never opened, moved or deleted.
        """
        return self.problem is not None and self.problem.endswith((fmt.NOT_REGULAR, fmt.NAME_TOO_LONG))

    @property
    def number(self) -> int:
        """The header's number; 0 without a header."""
        return self.header.number if self.header else 0


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment just made: `fd` is open for appending, `size` bytes (the header) are in it and on disk."""

    fd: int
    path: Path
    header: Header
    size: int
    inode: int

    def finished(self, size: int) -> Segment:
        """The same as a `Segment` of `size` bytes, which is what the sealer takes."""
        return Segment(self.path, self.path.name, False, size, self.inode, self.header)


@dataclass(frozen=True, slots=True)
class PurgeMarker:
    """What a purge that has begun will delete: `(name, number, header CRC)` of files with a header, `(name, inode,
    size)` of others, and the LSN that comes next.
    """

    next_lsn: int
    store: str
    headed: AbstractSet[tuple[str, int, int]]
    headless: AbstractSet[tuple[str, int, int]]

    def lists(self, segment: Segment) -> bool:
        """Whether the purge deletes `segment`; a file made or remade since is not listed."""
        plain = segment.name.removesuffix(fmt.SEALED_SUFFIX)
        # By inode first: a file whose header couldn't be read when it was listed may be readable now.
        if (segment.name, segment.inode, segment.size) in self.headless:
            return True
        if segment.header is None:
            return False
        # Sealing keeps header and number: a plain file listed is listed as .gz too, and the other way round.
        key = (segment.header.number, segment.header.crc)
        return (plain, *key) in self.headed or (plain + fmt.SEALED_SUFFIX, *key) in self.headed


def is_store(value: object) -> bool:
    """Whether `value` can be a store's uuid: text that is safe to print, to write and to keep."""
    return isinstance(value, str) and len(value) <= _MAX_STORE_CHARS and value.isprintable()


def parse_header(json: bytes, crc: int) -> Header | None:
    """The header whose frame holds `json`; None if it is none.  `crc` is the frame's stored CRC-32C."""
    try:
        fields = ujson.loads(json)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("t") != "V":
        return None
    values: list[Any] = [fields.get(key) for key in ("store", "created", "segment", "firstId")]
    store, created, number, first_id = values
    if not is_store(store) or any(type(value) is not int for value in (created, number, first_id)):
        return None
    if not 1 <= number <= fmt.MAX_INT32 or not fmt.MIN_INT32 <= first_id <= fmt.MAX_INT32:
        return None
    return Header(store, created, number, first_id, crc, len(json) + fmt.FRAME_OVERHEAD)


def read_header(fd: int, sealed: bool) -> tuple[Header | None, str | None]:
    """The header of an open segment that isn't empty; without one, None and the problem."""
    begin = _plain_prefix if sealed else _prefix
    try:
        data = begin(fd, 1024)
        length = int.from_bytes(data[: fmt.LENGTH_SIZE], "little")
        end = fmt.LENGTH_SIZE + length
        if not 0 < length <= MAX_HEADER_BYTES:
            return None, "torn header"
        if len(data) < end + fmt.CRC_SIZE:
            data = begin(fd, end + fmt.CRC_SIZE)
    except zlib.error as exc:
        return None, f"unreadable: {exc}"
    json, stored = data[fmt.LENGTH_SIZE : end], data[end : end + fmt.CRC_SIZE]
    crc = int.from_bytes(stored, "little")
    if len(stored) < fmt.CRC_SIZE or crc32c(json) != crc:
        return None, "torn header"
    header = parse_header(json, crc)
    return header, None if header else "unreadable: its first frame is no header"


def _prefix(fd: int, size: int) -> bytes:
    return read_at(fd, size, 0)


def _plain_prefix(fd: int, size: int) -> bytes:
    """The first `size` bytes of a gzip file's content, or what there is of them before it is damaged."""
    plain = b""
    for piece in (4096, 1):  # a call that fails keeps what it had decompressed: byte by byte all before it is had
        inflate, plain, offset = zlib.decompressobj(wbits=31), b"", 0
        try:
            while len(plain) < size and not inflate.eof and (chunk := calls.pread(fd, piece, offset)):
                offset += len(chunk)
                plain += inflate.decompress(chunk, size - len(plain))
            break
        except zlib.error:
            if piece == 1 and not plain:
                raise
    return plain
