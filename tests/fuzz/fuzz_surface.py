"""What is fuzzed of the Python around the core: for each target a function that takes bytes and fails at a finding."""

from __future__ import annotations

import gzip
import os
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import judges
import oracle
from fuzz_core import frame

import walcore
from walcore import format as fmt
from walcore.errors import WalError
from walcore.frames import FrameReader
from walcore.headers import Segment
from walcore.record import Record

if TYPE_CHECKING:
    from walcore.faults import Fault

NAMES = (
    "wal-1.v1", "wal-1.v1.gz", "wal-2.v1", "wal-2.v1.gz", "wal-02.v1", "wal--5.v1", "wal-3.v1", "wal-x.v1",
    fmt.STATE_NAME, fmt.PURGE_NAME, fmt.LOCK_NAME, f"{fmt.QUARANTINE_NAME}/wal-1.v1",
)  # fmt: skip
RAW, LINES, SEALED_WELL, PACKED = range(4)


def framed(content: bytes) -> bytes:
    """Each line with its length and checksum."""
    return b"".join([frame(line + b"\n") for line in content.split(b"\n")])


def shaped(form: int, content: bytes) -> bytes:
    """A file's bytes: as they are, as lines in frames, these sealed with a summary that fits, or only packed."""
    if form == RAW:
        return content
    if form == PACKED:
        return gzip.compress(content, 1, mtime=0)
    plain = framed(content)
    if form == LINES:
        return plain
    highest = max([0, *(record.id for record in expected(plain))])
    return gzip.compress(plain + oracle.summary_frame(highest, zlib.crc32(plain)), 1, mtime=0)


def expected(plain: bytes) -> list[Record]:
    """The records before the first fault, by the slow witness."""
    at, found = 0, []
    while line := judges.whole(plain, at):
        try:
            record = judges.mint(line)
        except judges.Refused:
            break
        if record is not None:
            found.append(record)
        at += len(line) + 8
    return found


def segment(data: bytes) -> None:
    """One segment's file, plain or gzip, read with and without records, to its end.

    The first byte: bit 0 sealed, bits 1 and 2 the form; bit 3, a byte of the file is changed, where the second says.
    """
    if len(data) < 5:
        return
    sealed, form = bool(data[0] & 1), data[0] >> 1 & 3
    content = bytearray(shaped(form, bytes(data[4:])))
    if data[0] & 8 and content:
        content[(data[1] << 8 | data[2]) % len(content)] ^= data[3]
    fd = os.memfd_create("segment")
    try:
        os.write(fd, content)
        described = Segment(Path("wal-1.v1"), "wal-1.v1", sealed, len(content), 0, None)
        first, records, faults = read(FrameReader(described, fd, len(content), records=True))
        _, none, same = read(FrameReader(described, fd, len(content)))
    finally:
        os.close(fd)
    assert not none
    assert same == faults
    assert len(first) <= len(records)
    if judges.depth(content) > judges.DEPTH:
        return
    if not sealed:
        assert first == expected(bytes(content))
    elif form == SEALED_WELL and not data[0] & 8:
        assert first == expected(framed(bytes(data[4:])))


def read(frames: FrameReader) -> tuple[list[Record], list[Record], list[Fault]]:
    """The records before the first fault, all of them, and the faults."""
    records: list[Record] = []
    faults: list[Fault] = []
    first: list[Record] | None = None
    while True:
        for batch in frames.batches():
            records += batch
        if first is None:
            first = list(records)
        if frames.fault is None:
            break
        faults.append(frames.fault)
        if not frames.resume():
            break
        assert len(faults) < 100_000
    return first, records, faults


def fill(directory: Path, data: bytes) -> None:
    """Files of which each is told by four bytes (name, form, size) and its content."""
    at = 0
    while len(data) - at > 4:
        name, form, size = NAMES[data[at] % len(NAMES)], data[at + 1] & 3, int.from_bytes(data[at + 2 : at + 4], "big")
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(shaped(form, data[at + 4 : at + 4 + size]))
        at += 4 + size


def directory(data: bytes) -> None:
    """A folder of anything at all: read in every mode, searched, recovered, repaired, opened, and gone on with."""
    with tempfile.TemporaryDirectory(prefix="walcore-fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "wal"
        path.mkdir()
        fill(path, data)
        before, complete = read_all(path)
        known = recovered(path)
        for id in list(known)[:2]:
            assert walcore.find(path, id) is not None, id
        if len(data) % 2:
            repaired(path)
            before, complete = read_all(path)
        try:
            wal = walcore.open(path)
        except (WalError, OSError):
            return
        with wal:
            lsn = wal.log_mint(77, "I", "urn:new")
            wal.commit(lsn)
            assert wal.durable_lsn == lsn
        assert all(record.lsn < lsn for record in before), "an LSN was given twice"
        after = list(walcore.read(path))
        assert after[-1] == Record(lsn, 77, "I", "urn:new"), "what was promised is not there"
        if complete:
            assert after[:-1] == before, "what was sound has changed"


def repaired(path: Path) -> None:
    """After a repair the log is complete."""
    try:
        walcore.repair(path).apply()
    except (WalError, OSError):
        return
    reader = walcore.read(path)
    for _ in reader:
        pass
    assert reader.report.complete, reader.report.faults


def read_all(path: Path) -> tuple[list[Record], bool]:
    """What the mode SALVAGE finds, and whether the log is without any fault."""
    found: list[Record] = []
    faults = True
    for mode in walcore.ReadMode:
        reader = walcore.read(path, mode=mode)
        try:
            found = list(reader)
        except walcore.CorruptionError:
            assert mode == "STRICT"
        faults = bool(reader.report.faults)
    return found, not faults


def recovered(path: Path) -> dict[int, Record]:
    try:
        return walcore.recover(path).records
    except walcore.IncompleteError as error:
        assert error.records == walcore.recover(path, allow_incomplete=True).records
        return error.records  # type: ignore[no-any-return]


TARGETS = {"segment": segment, "directory": directory}
