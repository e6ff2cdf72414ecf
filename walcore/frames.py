"""Bytes to frames, and the reason why it stopped: tear or corruption.

A fault runs from the first byte that begins no whole frame to the next whole frame whose checksum holds, else to the
end of the file.  What a length field claims doesn't count, since it may be what is damaged.  A tear is what a crash
leaves of frames that were never acknowledged; corruption is damage to what was.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from walcore._core.decode import BAD_LENGTH, MORE, OTHER, Decoder, find_frame
from walcore._core.encode import crc32c, crc32c_backend
from walcore._core.record import Record
from walcore._core.sink import Sink
from walcore.errors import WalError
from walcore.faults import MAX_FAULTS, Fault, FaultKind
from walcore.format import CRC_SIZE, FRAME_OVERHEAD, LENGTH_SIZE, MAX_INT32, MAX_LSN, MIN_INT32
from walcore.jsonline import integer, parse_line, string
from walcore.record import ValueKind
from walcore.segments import Segment, open_segment
from walcore.sources import CHUNK, LARGE, GzipSource, PlainSource, Source, Window, codec
from walcore.system import calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from walcore._core.ids import IdRun
    from walcore.segments import Directory

_ZEROS: Final = bytes(8)
_OBJECT: Final = re.compile(rb"[ \t\r\n]*+\{")
_SECTOR: Final = 512
_MAX_UINT32: Final = 2**32 - 1
# What the search for the next frame may spend on checksums of what looks like one; an honest file needs a fraction.
_TRIAL_BYTES: Final = 1 << 30
# The price of one that can't be there in full, in such bytes.
_TRIAL_COST: Final = 4096
# More mint frames than the 32 KiB that deflate looks back can hold; a Sink keeps as many LSNs.
_REACH: Final = 512


Lot = list[Record] | Sink
"""Some records, one behind another in one segment: Records, or what was appended since its `begin`."""


@dataclass(frozen=True, slots=True)
class SegmentCheck:
    """What a pass over a whole segment found.  Offsets and sizes are in bytes of its plain content.

    `frames` counts the whole frames, header and summary included.  `end` is the offset behind the last whole frame
    before the first fault; `first_lsn`, `last_lsn` and `highest_id` speak of what lies before it.  `min_lsn` and
    `max_lsn` are the least and the greatest of any whole frame, also behind faults.  LSNs are 0 if there is none.
    `summary` is (lastId, crc32) of a sealed one; `summarized`: there is a summary, which in a plain segment has no
    meaning.  `faults` are the first MAX_FAULTS.  `tear`: the first fault is a tear, so what is behind `end` was never
    acknowledged.
    """

    frames: int
    end: int
    size: int
    first_lsn: int
    last_lsn: int
    min_lsn: int
    max_lsn: int
    highest_id: int
    summary: tuple[int, int] | None
    summarized: bool
    faults: tuple[Fault, ...]
    tear: bool


def check_segment(segment: Segment, vouched: int = 0, *, folder: Directory | None = None) -> SegmentCheck:
    """Read all of a segment without making records, in constant memory; nothing is raised for damage.

    `vouched` is the number of bytes, from the start, that a fitting state file calls on disk: no fault in them is a
    tear.  It is looked for in `folder`; without one, under its path.

    Raises:
        OSError: the file can't be opened or read.
    """
    fd = folder.open(segment.name) if folder else open_segment(segment.path)
    try:
        frames = FrameReader(segment, fd, segment.size, vouched=vouched)
        faults: list[Fault] = []
        sound = None
        while True:
            frames.pass_over()
            if frames.fault is not None and len(faults) < MAX_FAULTS:
                faults.append(frames.fault)
            if sound is None:
                sound = (frames.end, frames.first_lsn, frames.last_lsn, frames.highest_id)
                tear = frames.tear
            if frames.fault is None or not frames.resume():
                break
    finally:
        calls.close(fd)
    end, first_lsn, last_lsn, highest_id = sound
    return SegmentCheck(
        frames=frames.frames,
        end=end,
        size=frames.offset,
        first_lsn=first_lsn,
        last_lsn=last_lsn,
        min_lsn=frames.min_lsn,
        max_lsn=frames.max_lsn,
        highest_id=highest_id,
        summary=frames.summary,
        summarized=frames.summarized,
        faults=tuple(faults),
        tear=tear,
    )


class FrameReader:
    """One pass over one segment, forwards, in constant memory.

    `batches` yields lists of Records up to a fault or the end; then `fault` tells which (None: the end), and `resume`
    goes to the next whole frame, from which `batches` goes on.  Without `records` nothing is yielded, only counted;
    with `wanted` only the Records of that id are.  `lots` is the same for one that appends to `into`, and yields that
    wherever it could do so, else a list.  `passed` is given the whole frames up to the first fault as they are
    passed over, in order, many at a time, each view valid until it returns; `ids` is given the ids in them before.
    `source` takes the place of the file; `chunk` bytes of it are looked at at a time.  The descriptor stays the
    caller's.
    """

    def __init__(
        self,
        segment: Segment,
        fd: int,
        size: int,
        *,
        records: bool = False,
        wanted: int | None = None,
        into: Sink | None = None,
        vouched: int = 0,
        passed: Callable[[memoryview], object] | None = None,
        ids: IdRun | None = None,
        source: Source | None = None,
        chunk: int = CHUNK,
    ) -> None:
        self.name = segment.name
        self.sealed = segment.sealed
        self.headless = segment.header is None
        self.vouched = vouched
        self.fault: Fault | None = None
        self.tear = False
        """The fault is a tear."""
        self.unfinished = False
        """The fault is a last frame that the file ends in the middle of."""
        self.summary: tuple[int, int] | None = None
        self.summarized = False
        """A summary was met; in a plain segment it has no meaning."""
        self.crc32 = 0
        """CRC-32 of a sealed segment's frames before its summary; a plain one has nothing to hold it against."""
        self.end = 0
        self._window = Window(source or (GzipSource if self.sealed else PlainSource)(fd, size, segment.path), chunk)
        self._decoder = Decoder(tuple(ValueKind) if records or wanted is not None else None, wanted, ids)
        self._into = into
        self._passed = passed
        self._crc32 = codec().crc32
        self._sound = True
        self._recent: list[int] = []
        self._trials = _TRIAL_BYTES + 4 * size
        self._behind: bool | None = None
        """Where `resume` goes on: True here, False nowhere, None must be searched."""

    @property
    def offset(self) -> int:
        """Bytes passed over so far."""
        return self._window.offset

    @property
    def frames(self) -> int:
        """Whole frames so far."""
        return self._decoder.frames

    @property
    def first_lsn(self) -> int:
        """LSN of the first record; 0 if there is none yet, as below."""
        return self._decoder.first_lsn

    @property
    def last_lsn(self) -> int:
        """LSN of the last record."""
        return self._decoder.last_lsn

    @property
    def min_lsn(self) -> int:
        """The least LSN: RDF4J writes some out of order."""
        return self._decoder.min_lsn

    @property
    def max_lsn(self) -> int:
        """The greatest LSN."""
        return self._decoder.max_lsn

    @property
    def highest_id(self) -> int:
        """The highest id, 0 if none is above."""
        return self._decoder.highest_id

    def batches(self) -> Iterator[list[Record]]:
        """Yield Records, many at a time, up to a fault or the end; for a reader without `into`."""
        return cast("Iterator[list[Record]]", self.lots())

    def pass_over(self) -> None:
        """Go on up to a fault or the end, for what is counted and passed on: of a reader that yields nothing."""
        deque(self.batches(), maxlen=0)

    def lots(self) -> Iterator[Lot]:
        """Yield Records or what `into` was given of them, many at a time, up to a fault or the end."""
        self.fault, self.tear, self.unfinished = None, False, False
        window, decoder = self._window, self._decoder
        batch = self._lot()
        while True:
            status = decoder.decode(window.data, window.start, window.stop, batch)
            self._take(decoder.position - window.start)
            if status == OTHER:
                going = self._other(batch)
            elif status == MORE:
                if batch:
                    yield self._fresh(batch)
                    batch = self._lot()
                going = self._more()
            elif status == BAD_LENGTH:
                going = self._damaged("a length of 0 or above the limit")
            else:
                going = self._wrong_checksum()
            if not going:
                break
        if batch:
            yield self._fresh(batch)

    def resume(self) -> bool:
        """Go to the next whole frame behind the fault; False if there is none."""
        if self._behind is None:
            self._behind = self._search(_Zeros(self.offset))
        return self._behind

    # -- going on, or not ---------------------------------------------------------------------------------------------

    def _lot(self) -> Lot:
        """What the next records go into: a list where copies may have to be taken out of it."""
        return [] if self._into is None or (self.sealed and not self._sound) else self._into.begin()

    def _fresh(self, batch: Lot) -> Lot:
        """The batch without copies: behind damage, gzip may repeat whole frames of the 32 KiB before."""
        if not self.sealed:
            return batch
        if isinstance(batch, Sink):
            self._recent = (self._recent + batch.lsns())[-_REACH:]
            return batch
        if not self._sound:
            seen = set(self._recent)
            batch = [record for record in batch if not (record.lsn in seen or seen.add(record.lsn))]  # type: ignore[func-returns-value]
        self._recent = (self._recent + [record.lsn for record in batch[-_REACH:]])[-_REACH:]
        return batch

    def _take(self, size: int) -> None:
        """Pass over `size` bytes of whole frames."""
        window = self._window
        if self._sound and size:
            with memoryview(window.data) as view, view[window.start : window.start + size] as frames:
                if self.sealed and self.summary is None:
                    self.crc32 = self._crc32(frames, self.crc32)
                if self._passed is not None:
                    self._passed(frames)
            self.end = window.offset + size
        window.take(size)

    def _more(self) -> bool:
        """Have the whole of the next frame here."""
        need = self._decoder.frame_size or LENGTH_SIZE
        problem = self._doubt(need) if need > LARGE else None
        if problem is not None:
            return self._damaged(problem)
        return self._window.fill(need) or self._ended()

    def _doubt(self, need: int) -> str | None:
        """Why a frame of `need` bytes, too many to gather on a length field's word, is none; None if it may be one."""
        window = self._window
        if window.fill(LENGTH_SIZE + 1) and window.data[window.start + LENGTH_SIZE] not in b"{ \t\r\n":
            return "a large length, and no JSON object behind it"
        if self._trials < 0:
            return "a large length, and too many before it that were wrong"
        if window.source.holds(window.offset + LENGTH_SIZE, need - FRAME_OVERHEAD) is False:
            self._trials -= need
            return _BAD_CRC
        return None

    def _ended(self) -> bool:
        """Stop at the end of the bytes, with a fault if it shouldn't be there."""
        source = self._window.source
        ahead = source.remaining()  # of a large frame that was looked at only
        if source.damage is not None:
            return self._stop(FaultKind(source.damage[0]), source.damage[1], behind=None if ahead else False)
        if rest := len(self._window) + (ahead or 0):
            return self._damaged(f"the file ends inside a frame, {rest} bytes behind its start", unfinished=True)
        if self.sealed and self.summary is None and self._sound:
            return self._stop(FaultKind.MISSING_SUMMARY, "a sealed segment that ends without its summary", behind=False)
        return False

    def _stop(self, kind: FaultKind, detail: str, *, behind: bool | None, offset: int | None = None) -> bool:
        at = self.offset if offset is None else offset
        self.fault = Fault(kind, self.name, at, detail, lsn_before=self.last_lsn or None)
        self._behind, self._sound = behind, False
        return False

    def _wrong_checksum(self) -> bool:
        """Stop at a checksum that doesn't hold, once a second program has agreed: it could be ours that is wrong."""
        import crc32c as witness

        window = self._window
        start = window.start + LENGTH_SIZE
        end = start + int.from_bytes(window.data[window.start : start], "little")
        stored = int.from_bytes(window.data[end : end + CRC_SIZE], "little")
        if witness.crc32c(bytes(window.data[start:end])) == stored:
            msg = (
                f"{self.name} at byte {self.offset}: the checksum holds by the crc32c package and not by walcore's own "
                f"({crc32c_backend()}): this build or processor computes wrong checksums"
            )
            raise WalError(msg)
        return self._damaged(_BAD_CRC)

    def _damaged(self, detail: str, *, unfinished: bool = False) -> bool:
        """Stop where no whole frame begins; in a plain file, tell tear from corruption by what is behind."""
        if self.sealed:  # it was whole when it was sealed
            return self._stop(FaultKind.CORRUPT_FRAME, detail, behind=None)
        offset, zeros = self.offset, _Zeros(self.offset)
        found = self._search(zeros)
        torn = zeros.found() or not (found or self._trials < 0)
        self.tear = torn and offset >= self.vouched
        self.unfinished = unfinished and not found
        if torn and not self.tear:
            detail += ", in what was known to be on disk"
        kind = FaultKind.TORN_TAIL if self.tear else FaultKind.CORRUPT_FRAME
        return self._stop(kind, detail, behind=found, offset=offset)

    # -- frames that aren't canonical mints ---------------------------------------------------------------------------

    def _other(self, batch: Lot) -> bool:
        window, decoder = self._window, self._decoder
        offset, size = window.offset, decoder.frame_size
        start = window.start + LENGTH_SIZE
        end = start + size - FRAME_OVERHEAD
        record = problem = None
        try:
            if not _OBJECT.match(window.data, start, end) or window.data.rfind(b"}", start, end) < 0:
                _refuse(window.data[start : start + 20])  # before a copy is made of what may be half a gigabyte
            fields = parse_line(bytes(memoryview(window.data)[start:end]))
            if fields.get("t") == "M":
                record = _record(fields)
            elif fields.get("t") == "S":
                problem = self._summary(fields) if self.sealed else None
                self.summarized = True
        except ValueError as error:
            decoder.skip()
            self._take(size)
            return self._stop(FaultKind.INVALID_RECORD, str(error), behind=True, offset=offset)
        if record is not None and decoder.count(record.lsn, record.id):
            batch.append(record)
        decoder.skip()
        self._take(size)
        if problem is None and self.summary is not None and window.fill(1):
            problem, offset = "frames behind the summary", self.offset
        if problem is not None and self._sound:
            return self._stop(FaultKind.SUMMARY_MISMATCH, problem, behind=True, offset=offset)
        return True

    def _summary(self, fields: dict[str, Any]) -> str | None:
        """Take the summary; return what is wrong with it."""
        crc32 = integer(fields, "crc32", 0, _MAX_UINT32)
        last_id = integer(fields, "lastId", MIN_INT32, MAX_INT32)
        if self.summary is None:
            self.summary = (last_id, crc32)
        if crc32 != self.crc32:
            return f"the summary's crc32 is {crc32}, that of the content {self.crc32}"
        if last_id != self.highest_id:
            return f"the summary's lastId is {last_id}, the highest id {self.highest_id}"
        return None

    # -- the next whole frame -----------------------------------------------------------------------------------------

    def _search(self, zeros: _Zeros) -> bool:
        """Go to the next whole frame, showing `zeros` what is passed over; at the end, False."""
        window = self._window
        keep = LENGTH_SIZE + 1  # so many bytes it takes to see that a frame may begin
        self._pass(1, zeros)
        while self._trials >= 0:
            at = find_frame(window.data, window.start, window.stop)
            if at >= 0:
                self._pass(at - window.start, zeros)
                if self._whole():
                    return True
                self._pass(1, zeros)
                continue
            self._pass(len(window) - keep, zeros)
            if not window.fill(len(window) + 1):
                self._pass(len(window), zeros)
                return False
        return False

    def _pass(self, size: int, zeros: _Zeros) -> None:
        size = min(size, len(self._window))
        if size > 0:
            start = self._window.start
            zeros.see(self._window.data[start : start + size])
            self._window.take(size)

    def _whole(self) -> bool:
        """Whether the frame that seems to begin here is there in full and its checksum holds."""
        window, source = self._window, self._window.source
        size = int.from_bytes(window.data[window.start : window.start + LENGTH_SIZE], "little")
        left = source.remaining()
        self._trials -= _TRIAL_COST
        if left is not None and len(window) + left < size + FRAME_OVERHEAD:
            return False
        self._trials -= size
        if size > LARGE - FRAME_OVERHEAD:
            return source.holds(window.offset + LENGTH_SIZE, size) is True
        if not window.fill(size + FRAME_OVERHEAD):
            return False
        start = window.start + LENGTH_SIZE
        with memoryview(window.data) as view:
            stored = int.from_bytes(view[start + size : start + size + CRC_SIZE], "little")
            return view[start + size - 1] == 10 and crc32c(view[start : start + size]) == stored  # 10: the line's end


_BAD_CRC: Final = "the checksum doesn't hold"


class _Zeros:
    """Looks for what a lost page leaves: 8 zeros in a row, or zeros from the fault's start to the end of a sector."""

    def __init__(self, offset: int) -> None:
        self._to_sector = -offset % _SECTOR
        self._head = b""
        self._tail = b""
        self._run = False

    def see(self, piece: bytes | bytearray) -> None:
        if len(self._head) < self._to_sector:
            self._head += piece[: self._to_sector - len(self._head)]
        if not self._run:
            self._run = _ZEROS in piece or _ZEROS in self._tail + piece[: len(_ZEROS)]
            self._tail = (self._tail + piece[-len(_ZEROS) :])[-len(_ZEROS) + 1 :]

    def found(self) -> bool:
        return self._run or (self._to_sector > 0 and self._head == bytes(self._to_sector))


def _refuse(begin: bytearray) -> NoReturn:
    msg = f"not a JSON object: {bytes(begin)!r}"
    raise ValueError(msg)


def _record(fields: dict[str, Any]) -> Record:
    """A mint frame's Record.  Raises ValueError if a field is missing or not what the format has there."""
    kind = string(fields, "vk")
    if kind not in ("I", "B", "L", "N"):
        msg = f"vk must be one of I, B, L, N, got {kind[:40]!r}"
        raise ValueError(msg)
    return Record(
        integer(fields, "lsn", 1, MAX_LSN),
        integer(fields, "id", MIN_INT32, MAX_INT32),
        ValueKind(kind),
        string(fields, "lex"),
        string(fields, "dt"),
        string(fields, "lang"),
        integer(fields, "hash", MIN_INT32, MAX_INT32, 0),
    )
