"""The plain bytes of a segment, from a plain or a gzip file, in constant memory.

A source is read once, forwards, into a `Window`: a buffer that slides over the bytes and grows only by bytes that are
really there, never by what a length field claims.  Reading is by pread up to a size fixed beforehand, never by mapping:
a file cut meanwhile would kill the process.
"""

from __future__ import annotations

import os
import zlib
from typing import Any, Final, Protocol

from walcore._core.encode import crc32c

CHUNK: Final = 256 * 1024
"""Bytes read at a time: a batch of records stays in the processor's cache."""
LARGE: Final = 1024 * 1024
"""A frame above this is looked at before it is gathered in memory."""
# Input of a stream that is known to be damaged goes in by so few bytes, since each call copies what it left of them.
_CAREFUL_BYTES: Final = 64


class Source(Protocol):
    """What a Window reads from."""

    damage: tuple[str, str] | None
    """Why the bytes ended before their time: a fault kind's value and the detail."""

    def readinto(self, room: memoryview) -> int:
        """Put the next bytes into `room`; return how many, 0 at the end. Raises OSError if reading fails."""

    def remaining(self) -> int | None:
        """Bytes still to come, None if that can't be known before they came."""

    def holds(self, offset: int, size: int) -> bool | None:
        """Whether the `size` bytes of JSON at `offset` match the CRC-32C behind them; None if it can't look ahead."""


class PlainSource:
    """The first `size` bytes of an open file."""

    def __init__(self, fd: int, size: int) -> None:
        self.damage: tuple[str, str] | None = None
        self.fd = fd
        self.size = size
        self.offset = 0

    def readinto(self, room: memoryview) -> int:
        """See Source."""
        want = min(len(room), self.size - self.offset)
        got = os.preadv(self.fd, [room[:want]], self.offset) if want else 0
        if got == 0:
            self.size = self.offset  # cut since it was listed: the end is here
        self.offset += got
        return got

    def remaining(self) -> int:
        """See Source."""
        return self.size - self.offset

    def holds(self, offset: int, size: int) -> bool:
        """See Source."""
        crc, at, end = 0, offset, offset + size
        while at < end:
            part = os.pread(self.fd, min(CHUNK, end - at), at)
            if not part:
                return False
            crc = crc32c(part, crc)
            at += len(part)
        return crc.to_bytes(4, "little") == os.pread(self.fd, 4, end)


class GzipSource:
    """The bytes that an open gzip file's first `size` bytes decompress to, members one behind another as in gunzip.

    A call that fails keeps what it had decompressed.  So after a failure all is done again up to there, and then byte
    by byte: every byte before the damage is had.
    """

    def __init__(self, fd: int, size: int) -> None:
        self.damage: tuple[str, str] | None = None
        self._fd, self._size = fd, size
        self._given = 0
        self._start(_inflater(), CHUNK)
        self._again = 0

    def _start(self, inflater: Any, piece: int) -> None:
        self._file = PlainSource(self._fd, self._size)
        self._inflater = inflater
        self._piece = piece
        self._input = b""
        self._stream: Any = None
        self._members = 0
        self._ended = False

    def remaining(self) -> None:
        """See Source."""

    def holds(self, offset: int, size: int) -> None:
        """See Source."""

    def readinto(self, room: memoryview) -> int:
        """See Source."""
        got, careful = 0, self._piece < CHUNK
        while got < len(room) and not self._ended and (self._stream is not None or self._next_member()):
            most = min(self._again, CHUNK) or (1 if careful else len(room))
            try:
                data = self._stream.decompress(self._input, most)
            except self._inflater.error as error:
                if careful:
                    self._end("corrupt_frame", f"damaged gzip: {error}")
                    break
                careful, self._again = True, self._given
                self._start(zlib, _CAREFUL_BYTES)
                continue
            self._after(data)
            if self._again:
                self._again -= len(data)
            elif data:
                room[got : got + len(data)] = data
                got += len(data)
                if not careful:
                    break
        self._given += got
        return got

    def _after(self, data: bytes) -> None:
        """Note what the stream left of its input; go on to the next member behind its end."""
        stream = self._stream
        if stream.eof:
            self._input, self._stream = stream.unused_data, None
            self._members += 1
            return
        self._input = stream.unconsumed_tail
        if not self._input and not data:
            self._input = self._read()
            if not self._input:
                self._end("truncated_gzip", f"the file ends inside its gzip stream, after {self._file.offset} bytes")

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
            self._end("truncated_gzip", f"the file ends after {self._file.size} bytes")
        else:
            self._stream = self._inflater.decompressobj(wbits=31)  # checks the trailer as well
        return not self._ended

    def _read(self) -> bytes:
        room = bytearray(self._piece)
        got = self._file.readinto(memoryview(room))
        return bytes(memoryview(room)[:got])

    def _end(self, kind: str, detail: str) -> None:
        self.damage = (kind, detail)
        self._ended = True


def _inflater() -> Any:
    """What is faster than zlib and has its calls, where it is installed."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


class Window:
    """A sliding view of a source: `data[start:stop]` are the bytes from `offset` on."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.data = bytearray(CHUNK)
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
        """Have at least `size` bytes here, and as many more as one reading gives; False if the source ends before."""
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
        if self.start:
            kept = self.data[self.start : self.stop]
            if len(self.data) > CHUNK and len(kept) < CHUNK >= size:
                self.data = bytearray(CHUNK)  # a large frame has passed
            self.data[: len(kept)] = kept
            self.start, self.stop = 0, len(kept)
        if self.stop == len(self.data):  # full of real bytes, and the frame goes on
            self.data.extend(bytes(min(len(self.data), max(size - len(self.data), CHUNK))))
