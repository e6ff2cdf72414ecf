"""Reading a log: its records in order, in constant memory, and a report of all that was met on the way.

A reader needs no lock.  The directory is listed, then read, and looked at again where a file has gone meanwhile: a
segment being sealed or copied only changes its name.  What appears behind the last segment first listed is left to the
next pass.
"""

from __future__ import annotations

import errno
import os
import warnings
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

from walcore._core.sink import Tally
from walcore.ahead import AheadSource
from walcore.errors import CorruptionError, WalDamageWarning
from walcore.faults import HARMLESS, MAX_FAULTS, Fault, FaultKind
from walcore.files import told
from walcore.frames import FrameReader, Lot, SegmentCheck, check_segment
from walcore.lock import is_locked
from walcore.plan import Plan, choose, open_listed, plan, sequence
from walcore.record import ValueKind
from walcore.segments import Directory, Segment
from walcore.system import calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from walcore._core.record import Record
    from walcore._core.sink import Sink


class ReadMode(StrEnum):
    """What a reader does about damage."""

    STRICT = "STRICT"
    """Raises CorruptionError at the first fault (a segment just being sealed by a writer at work is none)."""
    STOP = "STOP"
    """Ends at the first fault, as RDF4J does; likewise."""
    SEGMENT = "SEGMENT"
    """Reads each segment to its own first fault and goes on with the next."""
    SALVAGE = "SALVAGE"
    """Resumes behind damage at the next frame whose checksum holds."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass over a log has met so far.

    `faults` are the first MAX_FAULTS that were met; `faults_left_out` counts those behind them by which records can be
    missing.
    `records` counts those yielded; `first_lsn` and `last_lsn` are the least and the greatest LSN of them, None without
    any; `segments` counts the files read.  `finished`: the pass came to its end; `cut_short`: it ended at a fault with
    more of the log behind.
    """

    faults: tuple[Fault, ...]
    records: int
    first_lsn: int | None
    last_lsn: int | None
    segments: int
    finished: bool
    cut_short: bool
    faults_left_out: int = 0

    @property
    def complete(self) -> bool:
        """Whether the pass ended and met nothing by which a record that was on disk could be missing."""
        whole = self.finished and not self.cut_short and not self.faults_left_out
        return whole and all(fault.kind in HARMLESS for fault in self.faults)


class Reader:
    """The records of a log, as an iterable: each `iter()` is a pass of its own, `report` tells of the latest.

    A pass takes memory for one batch of records and one frame, whatever the log's size, and closes its descriptors when
    it ends or is dropped.

    Args:
        directory: the log's folder.
        mode: a ReadMode or its name.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: `mode` is none of the four.
        CorruptionError: while iterating in mode STRICT, at the first fault.
        OSError: while iterating, when reading fails; never taken for the end.
    """

    def __init__(self, directory: str | os.PathLike[str], mode: ReadMode | str = ReadMode.SEGMENT) -> None:
        self.directory = Path(directory)
        self.mode = read_mode(mode)
        Directory(self.directory).close()
        self._pass = Pass(self.directory, self.mode)

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[list[Record]]:
        """A new pass that yields lists of Records, some thousand at a time and never none, each of one segment."""
        self._pass = Pass(self.directory, self.mode)
        return self._batches(self._pass)

    @staticmethod
    def _batches(current: Pass) -> Iterator[list[Record]]:
        for _, batch in current.batches():
            yield batch
        current.warn()

    def counts(self) -> Iterator[dict[str, int]]:
        """A new pass that checks all and makes no Records: how many of each kind there are, told many times.

        Each dictionary tells of all records so far, the last one of all; without any record there is none.  Sealed
        segments are unpacked by a thread meanwhile, which takes 5 MiB and ends with the iterator.
        """
        tally = Tally()
        self._pass = Pass(self.directory, self.mode, tally, ahead=True)
        return self._counts(self._pass, tally)

    @staticmethod
    def _counts(current: Pass, tally: Tally) -> Iterator[dict[str, int]]:
        for _, lot in current.lots():
            for record in lot if isinstance(lot, list) else ():
                tally.append(record)
            yield dict(zip(ValueKind, tally.counts, strict=True))
        current.warn()

    @property
    def report(self) -> Report:
        """What the latest pass has met so far."""
        return self._pass.report()

    def __repr__(self) -> str:
        return f"Reader({str(self.directory)!r}, mode={self.mode.value!r})"


def read(directory: str | os.PathLike[str], *, mode: ReadMode | str = ReadMode.SEGMENT) -> Reader:
    """Read the log in `directory`: an iterable of Records in the order of the log, with a `report`.

    In the modes SEGMENT and SALVAGE a pass ends with one WalDamageWarning if the log isn't complete.  See `Reader` for
    the errors raised.
    """
    return Reader(directory, mode)


def read_mode(mode: ReadMode | str) -> ReadMode:
    """The ReadMode called `mode`.  Raises ValueError with the four names."""
    if not isinstance(mode, str):
        msg = f"mode must be a ReadMode or its name, not {type(mode).__name__}"
        raise TypeError(msg)
    try:
        return ReadMode(mode.upper())
    except ValueError:
        msg = f"mode must be one of {', '.join(ReadMode)}, got {mode!r}"
        raise ValueError(msg) from None


def _ends(lot: Lot) -> tuple[int, int]:
    """The LSNs of its first and its last record."""
    return (lot[0].lsn, lot[-1].lsn) if isinstance(lot, list) else (lot.first_lsn, lot.last_lsn)


class _Ended(Exception):  # noqa: N818 - nothing is wrong with it
    """The pass ends at a fault, as mode STOP wants."""


class Pass:
    """One pass over a directory, and what it has met so far; `into` is as a FrameReader has it.

    Sealed segments are unpacked `ahead` by a thread: slower for who makes Records, which takes the GIL.
    """

    def __init__(self, path: Path, mode: ReadMode, into: Sink | None = None, *, ahead: bool = False) -> None:
        self.path = path
        self.mode = mode
        self._into = into
        self._ahead = ahead
        self.faults: list[Fault] = []
        self.faults_left_out = 0
        self.records = 0
        self.first_lsn = 0
        self.last_lsn = 0
        self.segments = 0
        self.finished = False
        self.cut_short = False
        self._before = 0  # LSN of the record yielded last
        self._open_faults = 0  # from this fault on, the LSN behind it isn't known yet
        self._strays: list[tuple[int, Segment]] = []  # without header, by their least LSN; falling

    def report(self) -> Report:
        """A snapshot."""
        return Report(
            faults=tuple(self.faults),
            records=self.records,
            first_lsn=self.first_lsn or None,
            last_lsn=self.last_lsn or None,
            segments=self.segments,
            finished=self.finished,
            cut_short=self.cut_short,
            faults_left_out=self.faults_left_out,
        )

    def batches(self) -> Iterator[tuple[int, list[Record]]]:
        """Yield (place of the segment in this pass, some of its records); for a pass without `into`."""
        return cast("Iterator[tuple[int, list[Record]]]", self.lots())

    def lots(self) -> Iterator[tuple[int, Lot]]:
        """Yield (place of the segment in this pass, some of its records, or what `into` was given of them)."""
        with Directory(self.path) as directory, suppress(_Ended):
            yield from self._segments(directory)
        self.finished = True

    def warn(self) -> None:
        """The one warning at the end of a pass that goes on past damage."""
        losses = [fault for fault in self.faults if fault.kind not in HARMLESS]
        number = len(losses) + self.faults_left_out  # which may be all, behind many that are harmless
        if number and self.mode in (ReadMode.SEGMENT, ReadMode.SALVAGE):
            many = "1 fault" if number == 1 else f"{number} faults"
            msg = f"{self.path} is not complete: {many} by which records can be missing"
            if losses:
                first = losses[0]
                msg += f", first {first.kind} in {first.segment} at byte {first.offset} ({first.detail})"
            warnings.warn(f"{msg}; see the reader's report", WalDamageWarning, stacklevel=3)

    # -- segments -----------------------------------------------------------------------------------------------------

    def _segments(self, directory: Directory) -> Iterator[tuple[int, Lot]]:
        found = plan(directory)
        for fault in found.faults:
            self._meet(fault, more=bool(found.numbered))
        if self.mode is ReadMode.SALVAGE:
            self._find_strays(directory, found)
        last = max(found.numbered, default=0)
        for files in sequence(directory, found):
            if isinstance(files, Fault):
                self._meet(files, more=True)
                continue
            segment, faults = choose(directory, files, found)
            for fault in faults:
                # Where a writer is at work every sealing shows both files for a moment: no reason to stop.
                if fault.kind is FaultKind.DUPLICATE_SEGMENT and is_locked(self.path):
                    self._note(fault)
                else:
                    self._meet(fault, more=True)
            yield from self._segment(directory, segment, found, last)
        while self._strays:
            yield from self._stray(directory)

    def _segment(self, directory: Directory, segment: Segment, found: Plan, last: int) -> Iterator[tuple[int, Lot]]:
        opened = open_listed(directory, segment)
        if isinstance(opened, Fault):
            self._meet(opened, more=True)
            return
        fd, segment = opened
        try:
            number, size = segment.number, segment.size
            short = found.cut_off(segment)
            into = None if self._strays else self._into  # what lies in between couldn't go in between any more
            vouched = found.known(segment)
            ahead = AheadSource(fd, size, segment.path) if self._ahead and segment.sealed else None
            frames = FrameReader(segment, fd, size, records=True, into=into, vouched=vouched, source=ahead)
            place = self.segments
            self.segments += 1
            growing = partial(self._growing, fd, segment) if number == last else lambda: False
            with closing(ahead) if ahead else nullcontext():
                for batch in self._frames(frames, growing, more=number < last):
                    while self._strays and self._strays[-1][0] < _ends(batch)[0]:
                        yield from self._stray(directory)
                    yield place, self._count(batch, frames)
            if frames.fault is None and short is not None:
                self._meet(short, more=number < last)
        finally:
            calls.close(fd)

    def _frames(self, frames: FrameReader, growing: Callable[[], bool], *, more: bool) -> Iterator[Lot]:
        while True:
            yield from filter(None, frames.lots())
            fault = frames.fault
            if fault is None or (frames.unfinished and growing()):
                return
            behind = frames.resume() if self.mode in (ReadMode.SALVAGE, ReadMode.STOP) else False
            if fault.offset or not frames.headless:  # else its lack of a header has been told
                self._meet(fault, more=more or behind)
            if not behind:
                return

    def _growing(self, fd: int, segment: Segment) -> bool:
        """Whether a writer is at work: then an unfinished frame is the end."""
        with told("stat", segment.path):
            size = calls.fstat(fd).st_size
        return size > segment.size or is_locked(self.path)

    # -- segments without a readable header, which SALVAGE reads where their LSNs place them ---------------------------

    def _find_strays(self, directory: Directory, found: Plan) -> None:
        for segment in found.headless:
            if segment.size and (check := _check(directory, segment)) is not None and check.max_lsn:
                self._strays.append((check.min_lsn, segment))
        self._strays.sort(key=lambda stray: -stray[0])

    def _stray(self, directory: Directory) -> Iterator[tuple[int, Lot]]:
        _, segment = self._strays.pop()
        opened = open_listed(directory, segment)
        if isinstance(opened, Fault):
            return
        fd, segment = opened
        try:
            frames = FrameReader(segment, fd, segment.size, records=True)
            place = self.segments
            self.segments += 1
            for batch in self._frames(frames, lambda: False, more=True):
                yield place, self._count(batch, frames)
        finally:
            calls.close(fd)

    # -- counting -----------------------------------------------------------------------------------------------------

    def _count(self, batch: Lot, frames: FrameReader) -> Lot:
        first, self._before = _ends(batch)
        for index in range(self._open_faults, len(self.faults)):
            self.faults[index] = replace(self.faults[index], lsn_after=first)
        self._open_faults = len(self.faults)
        self.records += len(batch)
        self.first_lsn = min(self.first_lsn or frames.min_lsn, frames.min_lsn)
        self.last_lsn = max(self.last_lsn, frames.max_lsn)
        return batch

    def _note(self, fault: Fault) -> Fault:
        fault = replace(fault, lsn_before=fault.lsn_before or self._before or None)
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)
        elif fault.kind not in HARMLESS:
            self.faults_left_out += 1
        return fault

    def _meet(self, fault: Fault, *, more: bool) -> None:
        """Do what the mode says about a fault; `more`: there is more of the log behind it."""
        fault = self._note(fault)
        if self.mode is ReadMode.STRICT:
            msg = f"{fault.kind} in {self.path}, {fault.segment} at byte {fault.offset}: {fault.detail}"
            raise CorruptionError(
                msg, kind=fault.kind.value, segment=fault.segment, offset=fault.offset, lsn=fault.lsn_before
            )
        if self.mode is ReadMode.STOP:
            self.cut_short = more
            raise _Ended


def _check(directory: Directory, segment: Segment) -> SegmentCheck | None:
    """What frames a file without header holds; None if it is no file that can be read."""
    try:
        return check_segment(segment, folder=directory)
    except PermissionError:
        return None
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise
