"""One segment that holds five records, or any bytes, and what reading it gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import logs

from walcore.frames import FrameReader, SegmentCheck, check_segment
from walcore.segments import Segment, list_segments

if TYPE_CHECKING:
    from walcore.faults import Fault
    from walcore.record import Record

RECORDS = [logs.record(lsn) for lsn in range(1, 6)]
BODY = logs.plain(RECORDS)
END = len(BODY)
NEXT = logs.mint(logs.record(6))


def segment(directory: Path, content: bytes, *, seal: bool = False) -> Segment:
    logs.write(directory, "wal-1.v1.gz" if seal else "wal-1.v1", content)
    (found,) = list_segments(directory)
    return found


def check(directory: Path, content: bytes, *, seal: bool = False, vouched: int = 0) -> SegmentCheck:
    return check_segment(segment(directory, content, seal=seal), vouched)


def read(directory: Path, content: bytes, *, seal: bool = False) -> tuple[list[Record], list[Fault]]:
    """All records of a segment, salvaged, and its faults."""
    one = segment(directory, content, seal=seal)
    fd = os.open(one.path, os.O_RDONLY)
    try:
        frames, records, faults = FrameReader(one, fd, one.size, records=True), [], []
        while True:
            records += [record for batch in frames.batches() for record in batch]
            if frames.fault is None:
                return records, faults
            faults.append(frames.fault)
            if not frames.resume():
                return records, faults
    finally:
        os.close(fd)


def kinds(faults: list[Fault] | tuple[Fault, ...]) -> list[str]:
    return [str(fault.kind) for fault in faults]
