"""What must be true of a log's directory, given the lines of `player.py` that were out before the crash.

Two witnesses look: the independent reader of the shared folder, which knows nothing of walcore, at the directory as the
crash left it and again after walcore repaired it and went on; and walcore itself.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import player

import walcore

NEW_IDS = range(900_000_001, 900_000_004)


def independent(shared: Path) -> ModuleType:
    """The shared folder's reader."""
    path = shared / "crashstates" / "walformat.py"
    if "walformat" not in sys.modules:
        spec = importlib.util.spec_from_file_location("walformat", path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules["walformat"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["walformat"])
    return sys.modules["walformat"]


class Promises:
    """The lines of a player, sorted.

    `acked` is LSN to id of what was promised; up to `doubtful` a purge was asked for, up to `purged` it was done.
    """

    def __init__(self, acks: list[str], subs: list[str]) -> None:
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
        self.info = {
            "acks": [f"ACK {lsn} {id}" for lsn, id in self.acked.items() if lsn > self.doubtful],
            "subs": subs,
        }

    def judge(self, rows: dict[int, tuple[Any, ...]], logged: set[int] | None = None) -> str | None:
        """What is wrong with `rows`, LSN to record without its LSN: lost, changed, invented, or back from the dead."""
        for lsn, id in self.acked.items():
            if lsn > self.doubtful and rows.get(lsn) != player.fields(id):
                return f"promised LSN {lsn} with id {id} reads as {rows.get(lsn)}"
        for lsn, row in rows.items():
            if lsn <= self.purged:
                return f"LSN {lsn} was purged and is there"
            if row[0] not in (self.logged if logged is None else logged) or row != player.fields(row[0]):
                return f"LSN {lsn} was never logged: {row}"
        return None


def read(directory: Path, mode: str = "SEGMENT") -> dict[int, tuple[Any, ...]]:
    """LSN to record, as walcore reads it."""
    found: dict[int, tuple[Any, ...]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in walcore.read(directory, mode=mode):
            assert one.lsn not in found, f"LSN {one.lsn} twice"
            found[one.lsn] = (one.id, str(one.kind), one.lexical, one.datatype, one.language, one.hash)
    return found


def check(path: str, info: dict[str, Any]) -> str | None:
    """What is wrong with the state a crash left in `path`, which is repaired and gone on with; None if nothing is."""
    # What was logged before the story began: the states of an opening start from what another story left.
    subs = _with_old(info["subs"])
    promises = Promises(info["acks"], subs)
    reader = independent(Path(os.environ["WALCORE_SHARED"]))
    directory = Path(path) / "wal"
    if not directory.exists():
        return f"{len(promises.acked)} promises, and no directory" if promises.acked else None
    return (
        _tell("as the crash left it", reader.check_strict(path, promises.info) or _numbers(reader, directory))
        or _tell("walcore before opening", promises.judge(read(directory)))
        or _go_on(directory, promises, reader)
    )


def _numbers(reader: ModuleType, directory: Path) -> str | None:
    """Also during a purge the segments are the beginning of a log, or the original calls it incomplete."""
    numbers = sorted({segment.seq for segment in reader.read_dir(str(directory)).segments})
    return None if numbers == list(range(1, len(numbers) + 1)) else f"the segments have the numbers {numbers}"


def _with_old(subs: list[str], known: dict[str, list[str]] = {}) -> list[str]:  # noqa: B006 - a cache
    if not (old := os.environ.get("WALCORE_OLD_IDS")):
        return subs
    if len(known.get("subs", ())) != int(old) + len(subs):
        known["subs"] = [player.announcement(id) for id in range(1, int(old) + 1)] + subs
    return known["subs"]


def _tell(when: str, wrong: str | None) -> str | None:
    return wrong and f"{when}: {wrong}"


def _go_on(directory: Path, promises: Promises, reader: ModuleType) -> str | None:
    """Open, repair, log more, close; then all of it is there, old and new."""
    there = {record.lsn for record in reader.read_dir(str(directory)).records}
    with walcore.open(directory, **player.SETTINGS) as wal:
        opening = wal.opening
        repaired = read(directory)
        lsns = [wal.log_mint(*player.fields(id)) for id in NEW_IDS]
        wal.commit()
        early = read(directory)
    if opening.faults:
        return f"opening calls a crash damage: {opening.faults}"
    if lsns[0] <= max(there, default=0) or lsns[0] <= promises.highest:
        return f"LSN {lsns[0]} was handed out again (there: {max(there, default=0)}, promised: {promises.highest})"
    before = dict.fromkeys(repaired)
    if promises.purged < promises.doubtful and any(lsn <= promises.doubtful for lsn in before):
        lost = [lsn for lsn in promises.acked if lsn > promises.purged and lsn not in before]
        if lost:
            return f"half purged: {lost[:5]} are gone, {list(before)[:5]} are there"
    after = read(directory)
    more = dict(zip(lsns, NEW_IDS, strict=True))
    if after != early or repaired | {lsn: player.fields(id) for lsn, id in more.items()} != after:
        return f"reads {list(after)} after closing, {list(early)} before, {list(repaired)} before logging {lsns}"
    wrong = promises.judge(repaired)
    # The original sees all of it as well, with nothing amiss but LSNs of what a crash tore off.
    found = reader.read_dir(str(directory))
    original = {record.lsn: tuple(record[1:]) for record in found.upstream}
    if original != after:
        wrong = wrong or f"the original reads {list(original)}, walcore {list(after)}"
    problems = [problem for problem in found.problems if "firstId in the header" not in problem]
    return _tell("after going on", wrong or (str(problems) if problems or found.tears else None))
