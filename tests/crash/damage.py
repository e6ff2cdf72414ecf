"""Damage done to logs, and what has to be true of them then.

A log is three segments of three records.  `judge` reads a damaged one in all four modes, has it repaired, and reads it
again, with walcore and by RDF4J's rule.
"""

from __future__ import annotations

import random
import shutil
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import logs
import original

import walcore
from walcore.faults import HARMLESS
from walcore.segments import Directory, list_segments
from walcore.state import State, write_state

Reading = tuple[list[tuple[Any, ...]], walcore.Report]
"""The records, as rows, and what was met on the way."""
MODES = ("STRICT", "STOP", "SEGMENT", "SALVAGE")
SEGMENTS = [[logs.record(lsn) for lsn in range(first, first + 3)] for first in (1, 4, 7)]
RECORDS = [one for segment in SEGMENTS for one in segment]


def row(one: walcore.Record) -> tuple[Any, ...]:
    return tuple(logs.as_row(one).values())


ROWS = {one.lsn: row(one) for one in RECORDS}


@dataclass
class Judged:
    """What a damaged log was like: kinds of faults as verify names them, the plan, what was there afterwards."""

    kinds: list[str]
    complete: bool
    plan: walcore.RepairPlan
    left: list[int]
    repaired: bool = True


def make(directory: Path, *, sealed: bool = True, closed: bool = True) -> Path:
    """A log whose last segment is plain, the others sealed or not; `closed`: a state file vouches for all of it."""
    for number, records in enumerate(SEGMENTS, 1):
        content, name = logs.plain(records, number), f"wal-{records[0].id}.v1"
        if sealed and number < len(SEGMENTS):
            logs.write(directory, name + ".gz", logs.sealed(content, records[-1].id))
        else:
            logs.write(directory, name, content)
    if closed:
        vouch(directory)
    return directory


def vouch(directory: Path, last_lsn: int = len(RECORDS)) -> None:
    """Write the state file that a clean close leaves."""
    last = list_segments(directory)[-1]
    assert last.header
    state = State(
        last_lsn=last_lsn,
        number=last.number,
        header_crc=last.header.crc,
        size=last.size,
        store=logs.STORE,
        clean=True,
    )
    with Directory(directory) as opened:
        write_state(opened, state)


def read(directory: Path, mode: str) -> Reading:
    reader, found = walcore.read(directory, mode=mode), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", walcore.WalDamageWarning)
        try:
            found.extend(map(row, reader))
        except walcore.CorruptionError:
            assert mode == "STRICT"
    return found, reader.report


def look(directory: Path, what: object, *, exact: bool = False) -> dict[str, Reading]:
    """Read a damaged log in all four modes: none invents a record, and the more lenient reads no fewer."""
    found = {mode: read(directory, mode) for mode in MODES}
    for mode, (rows, _) in found.items():
        assert all(ROWS.get(one[0]) == one for one in rows), f"{what}: {mode} reads what was never written"
        assert not exact or len({one[0] for one in rows}) == len(rows), f"{what}: {mode} reads a record twice"
    read_by = [{one[0] for one in rows} for rows, _ in found.values()]
    assert read_by[0] <= read_by[1] <= read_by[2] <= read_by[3], f"{what}: a stricter mode reads more: {read_by}"
    return found


def judge(directory: Path, what: object, *, repaired: bool = True, exact: bool = False) -> Judged:
    """Look at a damaged log, repair it if asked to, look at it again; AssertionErrors name `what` was done to it.

    `exact`: nothing of it can be taken for a crash's tear, so all that is gone has to be named.
    """
    read_before = look(directory, what, exact=exact)
    report = read_before["SALVAGE"][1]
    plan = walcore.repair(directory)
    kinds = sorted(str(fault.kind) for fault in report.faults)
    planned = sorted(str(fault.kind) for fault in plan.faults)
    # Repair also looks into what reading can't: gzip under a plain name, or without a sound gzip header.
    deeper = any(words in str(plan) for words in ("whatever its name says", "the header of its gzip"))
    more, fewer = Counter(planned) - Counter(kinds), Counter(kinds) - Counter(planned)
    # Behind a tear it doesn't look: all of that goes.
    same = (not more or deeper) and (not fewer or "torn_tail" in planned)
    assert same, f"{what}: the plan names {planned}, reading {kinds}"
    assert plan.damaged >= any(fault.kind not in HARMLESS for fault in report.faults), what
    # Behind a tear is what a crash left half done: only SALVAGE shows it.
    there = {one[0] for one in read_before["SEGMENT" if "torn_tail" in kinds else "SALVAGE"][0]}
    if not repaired:
        return Judged(kinds, report.complete, plan, sorted(there), repaired=False)
    plan.apply()
    left = check_repaired(directory, what)
    named = {lsn for first, last in plan.lost for lsn in range(first, (last or len(RECORDS)) + 1)}
    unsaid = there - set(left) - named
    assert not unsaid, f"{what}: repairing lost {unsaid} without a word"
    assert not named & set(left), f"{what}: {named & set(left)} is called lost and is there"
    if plan.damaged:
        assert not exact or named | set(left) >= set(ROWS), (
            f"{what}: {set(ROWS) - named - set(left)} is lost, {plan.lost} is named"
        )
        assert set(plan.lost_ids) <= set(ROWS), what  # an id is its LSN
        assert not set(plan.lost_ids) & set(left), f"{what}: {plan.lost_ids} are called lost"
    return Judged(kinds, report.complete, plan, left)


def check_repaired(directory: Path, what: object) -> list[int]:
    """A repaired log is sound for every reader, opening and RDF4J; returns the LSNs that it holds."""
    found = {mode: read(directory, mode) for mode in MODES}
    rows = found["STRICT"][0]
    for mode, (others, report) in found.items():
        assert others == rows, f"{what}: {mode} differs after repair"
        assert report.complete, f"{what}: {mode} after repair: {report}"
        assert not report.faults, f"{what}: {mode} after repair: {report}"
    assert all(ROWS.get(one[0]) == one for one in rows), f"{what}: repair invented a record"
    theirs, stopped = original.read(directory)
    assert stopped is None, f"{what}: RDF4J stops after repair: {stopped}"
    assert theirs == rows, f"{what}: RDF4J reads {len(theirs)} of {len(rows)} records"
    again = walcore.repair(directory)
    assert not again.steps, f"{what}: repaired, and again {again.steps}"
    return [one[0] for one in rows]


def opens(directory: Path, what: object) -> None:
    """Opening finds no damage, and what is logged then is read too."""
    before = {one[0] for one in read(directory, "STRICT")[0]}
    with walcore.open(directory) as wal:
        assert not wal.opening.faults, what
        assert not wal.opening.cut, what
        lsn = wal.log_mint(99, "I", "urn:new")
    assert lsn > max(before, default=0), what
    rows, report = read(directory, "STRICT")
    assert {one[0] for one in rows} == before | {lsn}, what
    assert report.complete, what
    assert original.read(directory) == (rows, None), what


def put(directory: Path, files: dict[str, bytes], known: dict[str, bytes]) -> None:
    """Make the files that differ from `known`, which are there, what they are in `files`."""
    for name, content in files.items():
        if content is not known[name]:
            (directory / name).write_bytes(content)


def restore(directory: Path, whole: dict[str, bytes]) -> None:
    """Make the directory what it was, file by file."""
    shutil.rmtree(directory / "quarantine", ignore_errors=True)
    for path in directory.iterdir():
        if path.name not in whole:
            path.unlink()
    for name, content in whole.items():
        (directory / name).write_bytes(content)


def at_random(whole: dict[str, bytes], dice: random.Random) -> dict[str, bytes]:
    """The files of a log after one to three pieces of damage of any kind."""
    files = dict(whole)
    for _ in range(dice.randint(1, 3)):
        name, other = dice.choice(sorted(files)), dice.choice(sorted(files))
        if dice.random() < 0.1:
            files[name], files[other] = files[other], files[name]
        else:
            files[name] = spoil(bytearray(files[name]), files[other], dice)
    return files


def spoil(data: bytearray, other: bytes, dice: random.Random) -> bytes:
    """`data` with bits flipped, or a piece of it replaced, zeroed, taken out, cut off, or filled from another file."""
    at, size = dice.randrange(len(data) + 1), min(len(data), dice.choice((1, 2, 8, 40, 600)))
    piece = len(data[at : at + size])
    what = dice.choice(("bits", "bits", "noise", "zeros", "end", "out", "in", "other"))
    if what == "bits":
        for _ in range(dice.choice((1, 1, 2, 5, 20)) if data else 0):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif what == "end":
        del data[at:]
    elif what == "other":
        start = dice.randrange(len(other) + 1)
        data[at : at + size] = other[start : start + size]
    else:
        new = {"noise": dice.randbytes(piece), "zeros": bytes(piece), "out": b"", "in": dice.randbytes(size)}[what]
        data[at : at if what == "in" else at + size] = new
    return bytes(data)
