"""Sealing: a finished segment becomes gzip with a summary at its end, and gets its index."""

from __future__ import annotations

import logging
import struct
import zlib
from typing import TYPE_CHECKING, Final

from walcore._core.encode import summary_frame
from walcore.errors import WalError
from walcore.files import inherit
from walcore.format import SEALED_SUFFIX, TEMPORARY_SUFFIX
from walcore.frames import FrameReader
from walcore.index import BLOCK_BYTES, MIN_SEALED_BYTES, TAIL_BYTES, IndexBuilder, IndexState, check_index
from walcore.segments import write_all
from walcore.sources import codec
from walcore.system import calls, pieces, read_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from walcore.segments import Directory, Segment

log = logging.getLogger("walcore")

# Small enough that a stop is prompt, large enough that the interpreter's lock is rarely asked for.
# Larger ones come from mappings of their own at first, then from the heap, which grows with every segment.
CHUNK_BYTES: Final = 64 * 1024
# isal decompresses into 16 KiB and makes room anew for more.  Beside the compressor's state that leaves holes in the
# heap that nothing fits into: it grew by 0.3 MiB with every segment.
INFLATE_BYTES: Final = 16 * 1024
GZIP_WBITS: Final = 31
ISAL_LEVEL: Final = 2
ZLIB_LEVEL: Final = 6


class SealError(WalError):
    """A segment can't be sealed; it stays plain."""


def seal_segment(directory: Directory, segment: Segment, pause: Callable[[], None] = lambda: None) -> Path:
    """Replace a finished plain segment by its gzip with a summary; every step can be cut off by a crash.

    The plain file is deleted only after the sealed one was synced, read back, and its name synced.  `pause` is called
    between chunks; an exception of it ends the work without a trace.

    Returns:
        The path of the sealed segment.

    Raises:
        SealError: the segment is damaged, changed meanwhile, or its sealed name is taken.
        OSError: reading or writing failed.
    """
    assert segment.header is not None  # a finished segment has one
    name = segment.name + SEALED_SUFFIX
    temporary = name + TEMPORARY_SUFFIX
    index = IndexBuilder(directory, name, segment.header)
    source = directory.open(segment.name)
    try:
        target = directory.create(temporary)
        try:
            inherit(source, target)
            deflate = _compress(segment, source, target, index, pause)
            directory.sync_data(target, temporary)
            _verify(directory, temporary, deflate, pause)
            status = calls.fstat(source)
            _expect(status.st_size == segment.size, segment, "its size changed")
            _expect(status.st_ino == segment.inode, segment, "another file has its name")
            _expect(status.st_nlink > 0, segment, "it was deleted meanwhile")
            try:
                directory.publish(temporary, name)
            except FileExistsError:
                msg = f"{name} is there already; the next opening decides which of the two counts"
                raise SealError(msg) from None
        finally:
            calls.close(target)
            directory.drop(temporary)
        directory.sync()
        if deflate.written >= MIN_SEALED_BYTES:
            _finish_index(index, source, deflate.written, deflate.trailer)
    finally:
        index.abandon()
        calls.close(source)
    _expect(directory.delete(segment), segment, "another file took its name; both are there")
    return directory.path / name


def index_segment(directory: Directory, segment: Segment, pause: Callable[[], None] = lambda: None) -> bool:
    """Make the index of a sealed segment that has none that fits; `pause` as for `seal_segment`.

    Where decompressing could begin within the file can't be seen from outside: such an index tells only which ids there
    are.  A damaged segment gets one that says that all must be read.

    Returns:
        Whether one was made.

    Raises:
        OSError: the segment can't be read.
    """
    state, _ = check_index(directory, segment.name, pages=False)
    if state is IndexState.SOUND or segment.size < MIN_SEALED_BYTES or segment.header is None:
        return False
    index = IndexBuilder(directory, segment.name, segment.header)

    def passed(frames: memoryview) -> None:
        index.passed(frames)
        index.relieve(source)
        pause()

    with directory.opened(segment.name) as source:
        try:
            frames = FrameReader(segment, source, segment.size, passed=passed, ids=index.ids)
            frames.pass_over()
            tail = read_at(source, TAIL_BYTES, segment.size - TAIL_BYTES)
            return _finish_index(index, source, segment.size, tail, tells=frames.fault is None)
        finally:
            index.abandon()


def _finish_index(index: IndexBuilder, source: int, sealed_size: int, tail: bytes, *, tells: bool = True) -> bool:
    """Whether there is one now: a segment does without."""
    try:
        index.finish(source, sealed_size, tail, tells=tells)
    except (OSError, MemoryError, OverflowError) as exc:
        log.warning("%s: no index was made, what is in it is found by reading it: %s", index.path, exc)
        return False
    return True


def _expect(holds: bool, segment: Segment, what: str) -> None:
    if not holds:
        msg = f"{segment.name} was not sealed: {what}"
        raise SealError(msg)


def _compress(segment: Segment, source: int, target: int, index: IndexBuilder, pause: Callable[[], None]) -> _Deflate:
    """Gzip a segment and its summary.

    One reading does for all: the very bytes whose checksums were found to hold are those compressed.
    """
    deflate = _Deflate(target)

    def passed(frames: memoryview) -> None:
        index.passed(frames)
        deflate.write(frames)
        if deflate.size - deflate.begun >= BLOCK_BYTES:
            index.boundary(*deflate.begin())
            index.relieve(source)
        pause()

    index.boundary(0, 0)
    size = segment.size
    frames = FrameReader(segment, source, size, vouched=size, passed=passed, ids=index.ids, chunk=CHUNK_BYTES)
    frames.pass_over()
    if frames.fault is not None:
        msg = f"{segment.name} is damaged: {frames.fault.kind} at byte {frames.fault.offset}: {frames.fault.detail}"
        raise SealError(msg)
    if frames.summarized:  # a second one behind it would make the sealed segment a damaged one
        msg = f"{segment.name} has a summary, as a sealed segment has that was unpacked; it stays plain"
        raise SealError(msg)
    if deflate.size > deflate.begun:
        index.boundary(*deflate.begin())
    deflate.write(summary_frame(max(frames.highest_id, 0), deflate.crc))
    deflate.end()
    return deflate


class _Deflate:
    """Gzip into an open file.  `size` and `crc`, a CRC-32, are of the plain bytes so far; `written` bytes came of them.

    Decompressing can begin where `begin` was called, `begun` plain bytes from the start: nothing behind looks back
    across, which costs 0.5 % of the size, and any gunzip reads it as ever.
    """

    def __init__(self, target: int) -> None:
        self.size = self.crc = self.begun = self.written = 0
        self._target = target
        self._codec = codec()
        # No name and no time in the gzip header: the same segment gives the same bytes.
        level = ZLIB_LEVEL if self._codec is zlib else ISAL_LEVEL
        self._stream = self._codec.compressobj(level, zlib.DEFLATED, GZIP_WBITS)

    @property
    def trailer(self) -> bytes:
        """What the file ends with: CRC-32 and size, modulo 4 GiB, of the plain bytes."""
        return struct.pack("<II", self.crc, self.size & 0xFFFF_FFFF)

    def write(self, plain: bytes | memoryview) -> None:
        self._put(self._stream.compress(plain))
        self.size, self.crc = self.size + len(plain), self._codec.crc32(plain, self.crc)

    def begin(self) -> tuple[int, int]:
        """Let decompressing begin here; returns the place, in bytes of the file and in plain bytes."""
        self._put(self._stream.flush(self._codec.Z_FULL_FLUSH))
        self.begun = self.size
        return self.written, self.size

    def end(self) -> None:
        self._put(self._stream.flush())

    def _put(self, data: bytes) -> None:
        write_all(self._target, data)
        self.written += len(data)


def _verify(directory: Directory, name: str, deflate: _Deflate, pause: Callable[[], None]) -> None:
    """Read the gzip back: it must be whole, end where the file ends, and hold just what went in."""
    module = codec()
    inflate = module.decompressobj(GZIP_WBITS)
    size = crc = 0
    with directory.opened(name) as fd:
        for chunk in pieces(fd, CHUNK_BYTES):
            left: bytes | memoryview = chunk
            while left and not inflate.eof:
                plain = inflate.decompress(left, INFLATE_BYTES)
                size, crc = size + len(plain), module.crc32(plain, crc)
                left = inflate.unconsumed_tail
            pause()
    if not inflate.eof or inflate.unused_data or (size, crc) != (deflate.size, deflate.crc):
        msg = f"{name} can't be read back as it was written"
        raise SealError(msg)
