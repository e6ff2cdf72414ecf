"""The plain bytes of a segment, from a plain or a gzip file, in constant memory.

A source is read once, forwards, into a `Window`: a buffer that slides over the bytes.  It is made larger than LARGE for
no length that a file claims, only for a frame whose checksum the source has found to hold.  Reading is by pread up to a
size fixed beforehand, never by mapping: a file cut meanwhile would kill the process.
"""

from __future__ import annotations

import zlib
from copy import copy
from typing import TYPE_CHECKING, Any, Final, Protocol

from walcore._core.encode import crc32c
from walcore.files import told
from walcore.format import CRC_SIZE
from walcore.system import calls

if TYPE_CHECKING:
    from pathlib import Path

CHUNK: Final = 256 * 1024
"""Bytes read at a time: a batch of records stays in the processor's cache."""
LARGE: Final = 1024 * 1024
"""A frame above this is looked at before it is gathered in memory."""
# Input of a stream that is known to be damaged goes in by so few bytes, since each call copies what it left of them.
_CAREFUL_BYTES: Final = 64
# The CRC-32C of any bytes with their own CRC-32C behind them.
_RESIDUE: Final = crc32c(bytes(CRC_SIZE))


class Source(Protocol):
    """What a Window reads from."""

    @property
    def damage(self) -> tuple[str, str] | None:
        """Why the bytes ended before their time: a fault kind's value and the detail."""

    def readinto(self, room: memoryview) -> int:
        """Put the next bytes into `room`; return how many, 0 at the end. Raises OSError if reading fails."""

    def remaining(self) -> int | None:
        """Bytes still to come, None if that can't be known before they came."""

    def holds(self, offset: int, size: int) -> bool | None:
        """Whether the `size` bytes of JSON at `offset` match the CRC-32C behind them, found out in constant memory.

        None if the source ends before; from then on `remaining` and `damage` tell where and why.  Ask in the order of
        offsets.
        """


class PlainSource:
    """The first `size` bytes of an open file; `path` is its name in errors."""

    def __init__(self, fd: int, size: int, path: Path) -> None:
        self.damage: tuple[str, str] | None = None
        self.fd = fd
        self.size = size
        self.path = path
        self.offset = 0

    def readinto(self, room: memoryview) -> int:
        """See Source."""
        want = min(len(room), self.size - self.offset)
        with told("read", self.path):
            got = calls.preadv(self.fd, [room[:want]], self.offset) if want else 0
        if got == 0:
            self.size = self.offset  # cut since it was listed: the end is here
        self.offset += got
        return got

    def remaining(self) -> int:
        """See Source."""
        return self.size - self.offset

    def holds(self, offset: int, size: int) -> bool | None:
        """See Source."""
        crc, at, end = 0, offset, offset + size + CRC_SIZE
        if end > self.size:
            return None
        while at < end:
            with told("read", self.path):
                part = calls.pread(self.fd, min(CHUNK, end - at), at)
            if not part:
                return None
            crc = crc32c(part, crc)
            at += len(part)
        return crc == _RESIDUE


class BytesSource:
    """Bytes that are in memory already."""

    damage: tuple[str, str] | None = None

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._offset = 0

    def readinto(self, room: memoryview) -> int:
        """See Source."""
        got = min(len(room), len(self._data) - self._offset)
        room[:got] = self._data[self._offset : self._offset + got]
        self._offset += got
        return got

    def remaining(self) -> int:
        """See Source."""
        return len(self._data) - self._offset

    def holds(self, offset: int, size: int) -> bool | None:
        """See Source."""
        end = offset + size + CRC_SIZE
        return crc32c(self._data[offset:end]) == _RESIDUE if end <= len(self._data) else None


class GzipSource:
    """The bytes that an open gzip file's first `size` bytes decompress to, members one behind another as in gunzip.

    A call that fails keeps what it had decompressed.  So after a failure all is done again up to there, and then byte
    by byte: every byte before the damage is had.

    To look ahead it sends a scout: one more pass over the bytes, however many frames are looked at.  Once one of them
    didn't hold, the scout is zlib's, whose state can be copied: it waits where it is and sends a copy ahead.
    """

    def __init__(self, fd: int, size: int, path: Path, inflater: Any = None) -> None:
        self.damage: tuple[str, str] | None = None
        self._fd, self._size, self._path = fd, size, path
        self.given = 0
        self._start(inflater or codec())
        self._careful = False
        """Bytes are asked for one at a time, once `_again` bytes that were given before have gone by."""
        self._again = 0
        self._scout: GzipSource | None = None
        self._doubtful = False
        """A frame didn't hold."""
        self._held = -1
        """Offset of the bytes that held last: the scout is behind them."""
        self._total: int | None = None
        """Bytes in all, once a scout came to their end."""

    def _start(self, inflater: Any) -> None:
        self.file = PlainSource(self._fd, self._size, self._path)
        self._inflater = inflater
        self._piece = CHUNK
        self._input = b""
        self.stream: Any = None
        self._members = 0
        self._ended = False

    def read_again(self) -> None:
        """Go on behind the first `given` bytes, which others have read, by unpacking them once more."""
        self._start(codec())
        self._again = self.given

    def remaining(self) -> int | None:
        """See Source."""
        return None if self._total is None else max(0, self._total - self.given)

    def holds(self, offset: int, size: int) -> bool | None:
        """See Source."""
        end = offset + size + CRC_SIZE
        if offset == self._held:
            return True
        if self._total is not None and end > self._total:
            return None
        if self._scout is None or self._scout.given > offset:
            self._scout = GzipSource(self._fd, self._size, self._path, zlib if self._doubtful else codec())
        self._scout.digest(offset)
        ahead = self._scout.fork() if self._doubtful else self._scout
        crc = ahead.digest(end)
        if crc == _RESIDUE:
            self._scout, self._held = ahead, offset
            return True
        if not self._doubtful:
            self._scout, self._doubtful = None, True
        if crc is None:
            self._total, self.damage = ahead.given, ahead.damage
            return None
        return False

    def fork(self) -> GzipSource:
        """A source that goes on from here on its own; for one that decompresses by zlib."""
        other = copy(self)
        other.file = copy(self.file)
        other.stream = self.stream and self.stream.copy()
        return other

    def digest(self, end: int) -> int | None:
        """Go on to the offset `end`; the CRC-32C of the bytes up to there, None if they end before."""
        crc, room = 0, memoryview(bytearray(CHUNK))
        while self.given < end:
            got = self.readinto(room[: min(CHUNK, end - self.given)])
            if got == 0:
                return None
            crc = crc32c(room[:got], crc)
        return crc

    def readinto(self, room: memoryview) -> int:
        """See Source."""
        got = 0
        while got < len(room) and not self._ended and (self.stream is not None or self._next_member()):
            most = min(self._again, CHUNK) or (1 if self._careful else min(len(room), LARGE))
            try:
                data = self.stream.decompress(self._input, most)
            except self._inflater.error as error:
                if self._careful:
                    self._end("corrupt_frame", f"damaged gzip: {error}")
                    break
                self._do_again()
                continue
            self._after(data)
            if self.damage and not self._careful and self._inflater is not zlib:
                # isal keeps back the last bytes of a stream that was cut off, zlib gives all that can be had.
                self._do_again()
                continue
            if self._again:
                self._again -= len(data)
                if self._careful and not self._again:
                    self._go_slowly()
            elif data:
                room[got : got + len(data)] = data
                got += len(data)
                if not self._careful:
                    break
        self.given += got
        return got

    def _do_again(self) -> None:
        """Begin anew, by zlib: what was given is passed over, then every byte is had by itself."""
        self._start(zlib)
        self.damage, self._careful, self._again = None, True, self.given
        if not self._again:
            self._go_slowly()

    def _go_slowly(self) -> None:
        """Each call copies what it leaves of its input: from here on there is little of it."""
        self.file.offset -= len(self._input)
        self._input = b""
        self._piece = _CAREFUL_BYTES

    def _after(self, data: bytes) -> None:
        """Note what the stream left of its input; go on to the next member behind its end."""
        stream = self.stream
        if stream.eof:
            self._input, self.stream = stream.unused_data, None
            self._members += 1
            return
        self._input = stream.unconsumed_tail
        if not self._input and not data:
            self._input = self._read()
            if not self._input:
                self._end("truncated_gzip", f"the file ends inside its gzip stream, after {self.file.offset} bytes")

    def _next_member(self) -> bool:
        if self._members:  # zeros may pad a gzip file, as tapes have it
            self._input = self._input.lstrip(b"\0")
        while len(self._input) < 2 and (more := self._read()):
            self._input += more
            if self._members:
                self._input = self._input.lstrip(b"\0")
        if not self._input and self._members:
            self._ended = True
        elif not b"\x1f\x8b".startswith(self._input[:2]):
            self._end("corrupt_frame", "no gzip stream" if not self._members else "bytes behind the gzip stream")
        elif len(self._input) < 2:
            self._end("truncated_gzip", f"the file ends after {self.file.size} bytes")
        else:
            self.stream = self._inflater.decompressobj(wbits=31)  # checks the trailer as well
        return not self._ended

    def _read(self) -> bytes:
        room = bytearray(self._piece)
        got = self.file.readinto(memoryview(room))
        return bytes(memoryview(room)[:got])

    def _end(self, kind: str, detail: str) -> None:
        self.damage = (kind, detail)
        self._ended = True


def codec() -> Any:
    """What is faster than zlib and has its calls, where it is installed: isal; else zlib."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


class Window:
    """A sliding view of a source: `data[start:stop]` are the bytes from `offset` on."""

    def __init__(self, source: Source, chunk: int = CHUNK) -> None:
        self.source = source
        self.chunk = chunk
        self.data = bytearray(chunk)
        self.start = 0
        self.stop = 0
        self.offset = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def take(self, size: int) -> None:
        """Pass over `size` bytes that are here."""
        self.start += size
        self.offset += size

    def fill(self, size: int) -> bool:
        """Have at least `size` bytes here, and as many more as one reading gives; False if the source ends before.

        The buffer becomes as large as that: more than LARGE is asked only for what `holds`.
        """
        left = self.source.remaining()
        if left is not None and len(self) + left < size:
            return False
        while len(self) < size:
            self._make_room(size)
            with memoryview(self.data) as view, view[self.stop :] as room:
                got = self.source.readinto(room)
            if got == 0:
                return False
            self.stop += got
        return True

    def _make_room(self, size: int) -> None:
        passed = len(self.data) > self.chunk >= size and len(self) < self.chunk  # a large frame has
        if not (passed or self.start or len(self.data) < size):
            return
        kept = self.data[self.start : self.stop]
        if passed or len(self.data) < size:
            self.data = bytearray(self.chunk if passed else size)
        self.data[: len(kept)] = kept
        self.start, self.stop = 0, len(kept)
