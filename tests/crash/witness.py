"""What must be true of a log's directory, given the lines of `player.py` that were out before the crash.

Two witnesses look: the independent reader of the shared folder, which knows nothing of walcore, at the directory as the
crash left it and again after walcore repaired it and went on; and walcore itself.  What they see depends on the
directory alone, so it is asked once (`look`), and then judged by any number of promises (`Promises.judge_all`).
"""

from __future__ import annotations

import functools
import itertools
import re
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import foreign
import player

import walcore

NEW_IDS = range(900_000_001, 900_000_004)
Rows = dict[int, tuple[Any, ...]]
"""LSN to record without its LSN."""


@functools.cache
def independent() -> ModuleType:
    """The shared folder's reader; it parses a file that it has seen no second time."""
    reader = foreign.program("walformat")
    reader.parse_segment = functools.lru_cache(maxsize=2048)(reader.parse_segment)
    return reader


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of one directory; `wrong` is what no promise could excuse."""

    wrong: str | None
    found: Rows
    """Before walcore opened it: every record in front of a segment's first fault."""
    original: frozenset[int]
    """The LSNs that the original's reader would have come to then."""
    repaired: Rows
    """What walcore read when it had opened it, without what was logged since."""
    next_lsn: int
    """The first one that was given out then."""


def read(directory: Path, mode: str = "SEGMENT") -> Rows:
    """LSN to record, as walcore reads it."""
    found: Rows = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in walcore.read(directory, mode=mode):
            assert one.lsn not in found, f"LSN {one.lsn} twice"
            found[one.lsn] = (one.id, one.kind.value, one.lexical, one.datatype, one.language, one.hash)
    return found


def look(directory: Path, *, before_too: bool = True) -> Sight:
    """Read the directory that a crash left, open it, log more, close it, and read it again.

    Without `before_too` walcore reads it only when it has been repaired: that takes a seventh less time.
    """
    seen = independent().read_dir(str(directory))
    wrong = _as_left(seen, in_quarantine(directory))
    found = {record[0]: tuple(record[1:]) for record in seen.records}
    before = read(directory) if before_too and directory.exists() else {}
    with walcore.open(directory, **player.SETTINGS) as wal:
        opening = wal.opening
        lsns = [wal.log_mint(*player.fields(id)) for id in NEW_IDS]
        durable = wal.commit()
    if opening.faults:
        wrong = wrong or f"opening calls a crash damage: {opening.faults}"
    if durable < lsns[-1]:
        wrong = wrong or f"LSN {lsns[-1]} was committed, and only {durable} is on disk"
    if lsns[0] <= max(found, default=0):
        wrong = wrong or f"LSN {lsns[0]} was handed out again (there: {max(found)})"
    new = {lsn: player.fields(id) for lsn, id in zip(lsns, NEW_IDS, strict=True)}
    after = read(directory)
    repaired = {lsn: row for lsn, row in after.items() if lsn not in new}
    if after != repaired | new:
        wrong = wrong or f"reads {list(after)} after closing, where {list(new)} was logged"
    if before_too and repaired != before:
        wrong = wrong or f"reads {list(repaired)} after opening, {list(before)} before"
    wrong = wrong or _to_the_original(directory, after)
    return Sight(wrong, found, frozenset(record[0] for record in seen.upstream), repaired, lsns[0])


def in_quarantine(directory: Path) -> set[int]:
    """The highest LSN of each piece that an opening took out, by its name: the log goes on behind these."""
    return {int(re.findall(r"\.lsn(\d+)", path.name)[-1]) for path in directory.glob("quarantine/*.lsn*")}


def _as_left(seen: Any, torn_off: set[int]) -> str | None:
    """What is wrong with a directory at once, and needs nobody's opening to be seen."""
    lsns = sorted(record[0] for record in seen.records)
    # An earlier opening may have put whole records behind a tear into quarantine: their LSNs are not given out again.
    if any(behind != before + 1 and behind - 1 not in torn_off for before, behind in itertools.pairwise(lsns)):
        return f"as the crash left it: a hole in {lsns}"
    # Also during a purge the segments are the beginning of a log, or the original calls it incomplete.
    numbers = sorted({segment.seq for segment in seen.segments})
    if numbers != list(range(1, len(numbers) + 1)):
        return f"as the crash left it: the segments have the numbers {numbers}"
    odd = [problem for problem in seen.problems if "two different records" in problem or "not the bytes" in problem]
    return f"as the crash left it: {odd}" if odd else None


def _to_the_original(directory: Path, after: Rows) -> str | None:
    """The original reads what walcore reads, and there is nothing amiss but LSNs that a crash tore off."""
    seen = independent().read_dir(str(directory))
    original = {record[0]: tuple(record[1:]) for record in seen.upstream}
    if original != after or len(seen.upstream) != len(after):
        return f"after going on: the original reads {list(original)}, walcore {list(after)}"
    problems = [problem for problem in seen.problems if "firstId in the header" not in problem]
    return f"after going on: {problems} {seen.tears}" if problems or seen.tears else None


class Promises:
    """The lines of a player, sorted.

    `acked` is LSN to id of what was promised; up to `doubtful` a purge was asked for, up to `purged` it was done.
    """

    def __init__(self, acks: Iterable[str], subs: Iterable[str]) -> None:
        self.acked: dict[int, int] = {}
        self.doubtful = self.purged = 0
        for line in acks:
            word, *numbers = line.split()
            if word == "ACK":
                assert self.acked.get(int(numbers[0]), int(numbers[1])) == int(numbers[1]), f"LSN given twice: {line}"
                self.acked[int(numbers[0])] = int(numbers[1])
            elif word == "PURGE":
                self.doubtful = int(numbers[0])
            elif word == "PURGED":
                self.purged = int(numbers[0])
        self.highest = max([*self.acked, self.purged])
        self.logged = {int(sub.split('"id": ', 1)[1].split(",", 1)[0]) for sub in subs}

    @property
    def must(self) -> Rows:
        """What has to be there."""
        return {lsn: player.fields(id) for lsn, id in self.acked.items() if lsn > self.doubtful}

    def judge(self, rows: Rows) -> str | None:
        """What is wrong with `rows`: something lost, changed, invented, or back from the dead."""
        must = self.must
        if not must.items() <= rows.items():
            lsn = next(lsn for lsn, row in must.items() if rows.get(lsn) != row)
            return f"promised LSN {lsn} with id {self.acked[lsn]} reads as {rows.get(lsn)}"
        for lsn, row in rows.items():
            if lsn <= self.purged:
                return f"LSN {lsn} was purged and is there"
            if row[0] not in self.logged or row != player.fields(row[0]):
                return f"LSN {lsn} was never logged: {row}"
        return None

    def judge_all(self, sight: Sight) -> str | None:
        """What is wrong with a directory that was seen so, after these promises; None if nothing is."""
        if wrong := sight.wrong or self.judge(sight.repaired):
            return wrong
        if wrong := self.judge(sight.found) if self.purged == self.doubtful else None:
            return f"as the crash left it: {wrong}"
        if hidden := sorted(self.must.keys() - sight.original):
            return f"as the crash left it: promised LSNs {hidden[:5]} are there, and the original stops before them"
        if sight.next_lsn <= self.highest:
            return f"LSN {sight.next_lsn} was handed out again (promised: {self.highest})"
        return self._half_purged(sight.repaired)

    def _half_purged(self, rows: Rows) -> str | None:
        """A purge that was asked for and not done has taken all or nothing."""
        if self.purged < self.doubtful and any(lsn <= self.doubtful for lsn in rows):
            lost = [lsn for lsn in self.acked if self.purged < lsn and lsn not in rows]
            if lost:
                return f"half purged: {lost[:5]} are gone, {list(rows)[:5]} are there"
        return None
