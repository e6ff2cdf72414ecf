"""What can still be had of a segment, whatever happened to it: where its whole frames lie, and copying them.

A file is read as what its content is.  A sealed segment under a plain name, or a plain one under a sealed name, is read
all the same, and so is a gzip file of which only the ten bytes of its own header are damaged.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from walcore.faults import MAX_FAULTS, Fault, FaultKind
from walcore.files import COPY_BYTES, copy_range, told, write_all
from walcore.format import CRC_SIZE, FRAME_OVERHEAD, LENGTH_SIZE, MAX_INT32, MAX_LSN, MIN_INT32, SEALED_SUFFIX
from walcore.frames import FrameReader
from walcore.headers import read_header
from walcore.jsonline import integer, parse_line
from walcore.sources import GzipSource, PlainSource, Window
from walcore.spans import Spans
from walcore.system import calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from walcore._core.record import Record
    from walcore.segments import Directory, Segment

# What RDF4J and walcore begin a gzip file with: deflate, no name, no time, no system.
_GZIP_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_MINT: Final = re.compile(rb'\{"t":"M","lsn":([1-9][0-9]*),')


@dataclass(frozen=True, slots=True)
class Salvage:
    """What a file named like a segment holds.

    `segment` has `sealed` and `header` as the content has them; `new_header`: its gzip header had to be replaced for
    that.  `runs` are the bytes, from and to, of the plain content that are whole sound frames; `lsns` and `first_id`
    are of the records in them, 0 without any.  Behind a tear nothing counts, but `highest_id` and `highest_lsn` are of
    all whole frames, also there.  `ids` are those that header and summary tell of and no record has.
    """

    folder: Directory
    segment: Segment
    new_header: bool
    runs: tuple[tuple[int, int], ...]
    lsns: Spans
    first_id: int
    highest_id: int
    highest_lsn: int
    ids: tuple[int, ...]
    faults: tuple[Fault, ...]
    tear: bool

    @property
    def name(self) -> str:
        """The file's name."""
        return self.segment.name

    @property
    def plain_name(self) -> str:
        """The name without what marks a sealed segment."""
        return self.name.removesuffix(SEALED_SUFFIX)

    @property
    def disguise(self) -> str:
        """Why the content can only be read in another way than name and first bytes say; "" if it isn't so."""
        if self.new_header:
            return "the header of its gzip is damaged"
        if self.segment.sealed != self.name.endswith(SEALED_SUFFIX):
            return f"its content is {'gzip' if self.segment.sealed else 'plain'}, whatever its name says"
        return ""


def examine(folder: Directory, segment: Segment, vouched: int) -> Salvage:
    """Read all of a segment of `folder`, in constant memory; `vouched` as for `check_segment`.

    Raises:
        OSError: the file can't be opened or read.
    """
    problem, new_header = segment.problem, False
    if segment.header is None and segment.size:
        segment, new_header = _identify(folder, segment)
    with _opened(folder, segment, new_header) as fd:
        frames = FrameReader(segment, fd, segment.size, records=True, vouched=vouched)
        found = _Finds(segment, frames)
        found.read_all()
    if problem:
        kind = FaultKind.EMPTY_SEGMENT if problem == "empty" else FaultKind.UNREADABLE_SEGMENT
        found.faults = [Fault(kind, segment.name, 0, problem), *(f for f in found.faults if f.offset)]
    return Salvage(
        folder,
        segment,
        new_header,
        tuple(found.runs),
        found.lsns,
        found.first_id or 0,
        frames.highest_id,
        frames.max_lsn,
        found.missing_ids(),
        tuple(found.faults),
        found.tear,
    )


def _identify(folder: Directory, segment: Segment) -> tuple[Segment, bool]:
    """The segment as its content has it, and whether that takes a new gzip header."""
    for sealed, new_header in ((not segment.sealed, False), (True, True)):
        candidate = replace(segment, sealed=sealed)
        with _opened(folder, candidate, new_header) as fd:
            header, _ = read_header(fd, sealed)
        if header is not None:
            return replace(candidate, header=header, problem=None), new_header
    return segment, False


@contextmanager
def _opened(folder: Directory, segment: Segment, new_header: bool) -> Iterator[int]:
    """A descriptor of the file, or of a copy in the folder for temporary files that begins with a sound gzip header."""
    fd = folder.open(segment.name)
    try:
        with told("read", segment.path):
            if not new_header:
                yield fd
                return
            with tempfile.TemporaryFile(buffering=0) as file:
                write_all(file.fileno(), _GZIP_HEADER)
                copy_range(fd, file.fileno(), min(len(_GZIP_HEADER), segment.size), segment.size)
                yield file.fileno()
    finally:
        calls.close(fd)


class _Finds:
    """One pass over a segment, and what it gathers."""

    def __init__(self, segment: Segment, frames: FrameReader) -> None:
        self.header = segment.header
        self.frames = frames
        self.runs: list[tuple[int, int]] = []
        self.lsns = Spans()
        self.first_id: int | None = None
        self.faults: list[Fault] = []
        self.open_faults = 0
        self.tear = False
        self.has_first = False

    def read_all(self) -> None:
        frames, counts = self.frames, True
        while True:
            start = frames.offset
            for batch in filter(None, frames.batches()):
                if counts:
                    self._take(batch)
            if counts:
                self._note(start, frames.fault)
            # Behind a tear is what a crash left half done; without a header nobody knows yet where it belongs.
            counts = counts and not (self.tear and self.header)
            if frames.fault is None or not frames.resume():
                return

    def _note(self, start: int, fault: Fault | None) -> None:
        end = self.frames.offset if fault is None else fault.offset
        if end > start:
            self.runs.append((start, end))
        if fault is not None:
            self.tear = self.tear or (not self.faults and self.frames.tear)
            if len(self.faults) < MAX_FAULTS:
                self.faults.append(fault)

    def _take(self, batch: list[Record]) -> None:
        if self.first_id is None:
            self.first_id = batch[0].id
        for index in range(self.open_faults, len(self.faults)):
            self.faults[index] = replace(self.faults[index], lsn_after=batch[0].lsn)
        self.open_faults = len(self.faults)
        for record in batch:
            self.lsns.add(record.lsn)
        first = self.header.first_id if self.header else self.first_id
        self.has_first = self.has_first or any(record.id == first for record in batch)

    def missing_ids(self) -> tuple[int, ...]:
        told = set() if self.header is None or self.has_first else {self.header.first_id}
        if self.frames.summary and self.frames.summary[0] > self.frames.highest_id:
            told.add(self.frames.summary[0])
        return tuple(sorted(told))


def only_in(one: Salvage, others: Iterable[Salvage]) -> dict[int, int]:
    """LSN to id of the records of `one` that none of `others` has, byte for byte."""
    found: dict[bytes, tuple[int, int]] = {}
    for frame in _frames(one, one.runs):
        fields = parse_line(frame[LENGTH_SIZE:-CRC_SIZE])
        if fields.get("t") == "M":
            found[frame] = (fields["lsn"], fields["id"])
    for other in others:
        if one.lsns.first <= other.lsns.last and other.lsns.first <= one.lsns.last:
            for frame in _frames(other, other.runs):
                found.pop(frame, None)
    return dict(found.values())


def ids_in(sources: Iterable[Salvage], wanted: set[int]) -> set[int]:
    """Which of the ids `wanted` a record of `sources` has; nothing is read where none is wanted."""
    found: set[int] = set()
    digits = [str(id).encode() for id in wanted]
    for source in sources if wanted else ():
        for frame in _frames(source, source.runs):
            if any(map(frame.__contains__, digits)):
                fields = parse_line(frame[LENGTH_SIZE:-CRC_SIZE])
                if fields.get("t") == "M":
                    found.add(fields["id"])
    return found & wanted


def told_by(source: Salvage, fault: Fault) -> tuple[int, int] | None:
    """LSN and id that a frame with a sound checksum shows, which is no valid record; None if it doesn't."""
    if fault.kind is not FaultKind.INVALID_RECORD:
        return None
    try:
        frame = next(_frames(source, ((fault.offset, fault.offset + 1),)))
        fields = parse_line(frame[LENGTH_SIZE:-CRC_SIZE])
        return integer(fields, "lsn", 1, MAX_LSN), integer(fields, "id", MIN_INT32, MAX_INT32)
    except ValueError:
        return None


def header_bytes(source: Salvage) -> bytes:
    """The frame of a header that is sound."""
    assert source.segment.header is not None
    return next(_frames(source, ((0, source.segment.header.size),)))


def write_sound(target: int, header: bytes, sources: Iterable[Salvage]) -> None:
    """Write `header` and, one source behind the other, every sound frame but headers, summaries and repetitions."""
    seen: set[int] = set()
    write_all(target, header)
    piece, size = [], 0
    for source in sources:
        for frame in _frames(source, source.runs):
            if _counts(frame, seen):
                piece.append(frame)
                size += len(frame)
            if size >= COPY_BYTES:
                write_all(target, b"".join(piece))
                piece, size = [], 0
    write_all(target, b"".join(piece))


def _counts(frame: bytes, seen: set[int]) -> bool:
    """Whether a frame goes into the new file; `seen` are the LSNs that are in it."""
    if match := _MINT.match(frame, LENGTH_SIZE):
        lsn = int(match[1])
    else:
        fields = parse_line(frame[LENGTH_SIZE:-CRC_SIZE])
        if fields.get("t") != "M":
            return fields.get("t") not in ("V", "S")
        lsn = fields["lsn"]
    new = lsn not in seen
    seen.add(lsn)
    return new


def _frames(source: Salvage, runs: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The frames in `runs`, which are known to be whole."""
    segment = source.segment
    with _opened(source.folder, segment, source.new_header) as fd:
        window = Window((GzipSource if segment.sealed else PlainSource)(fd, segment.size, segment.path))
        for start, end in runs:
            while window.offset < start and window.fill(1):
                window.take(min(len(window), start - window.offset))
            while window.offset < end and window.fill(LENGTH_SIZE):
                at = window.start
                need = int.from_bytes(window.data[at : at + LENGTH_SIZE], "little") + FRAME_OVERHEAD
                window.fill(need)
                yield bytes(memoryview(window.data)[window.start : window.start + need])
                window.take(need)
