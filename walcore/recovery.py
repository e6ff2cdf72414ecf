"""Recovery: the whole dictionary of a log, id -> record, and every id that the log gives two values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from walcore._core.decode import Record, index, same_value
from walcore.errors import CorruptionError, IncompleteError
from walcore.reader import Pass, ReadMode, Report, read_mode
from walcore.segments import Directory

_CHOICES: Final = ("last", "first", "error")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two records give `id` two values; `kept` is the one that counts so far, `dropped` the other."""

    id: int
    kept: Record
    dropped: Record


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a log holds: `records` by id, the `conflicts` in the order met, and the reader's `report`."""

    records: dict[int, Record]
    conflicts: tuple[Conflict, ...]
    report: Report


def recover(
    directory: str | os.PathLike[str],
    *,
    allow_incomplete: bool = False,
    on_conflict: str = "last",
    mode: ReadMode | str = ReadMode.SEGMENT,
) -> Recovered:
    """Read a log into a dictionary of its records by id.

    Args:
        directory: the log's folder.
        allow_incomplete: return what could be read of a damaged log instead of raising.
        on_conflict: which of two values of one id counts: "last", the newest (that of the later segment, within a
            segment that of the higher LSN), "first", the one met first, as RDF4J has it, or "error".
        mode: how to read, see `read`.

    Raises:
        IncompleteError: the log isn't complete; `.records` and `.report` hold what there is.
        CorruptionError: two values of one id under "error"; any fault in mode STRICT.
        FileNotFoundError: there is no such directory.
        OSError: reading fails.
    """
    if on_conflict not in _CHOICES:
        msg = f"on_conflict must be one of {', '.join(_CHOICES)}, got {on_conflict!r}"
        raise ValueError(msg)
    path = Path(directory)
    Directory(path).close()
    current = Pass(path, read_mode(mode))
    gathered = _Gathered(path, on_conflict)
    for place, batch in current.batches():
        gathered.add(place, batch)
    records, report = gathered.finish(), current.report()
    if not report.complete and not allow_incomplete:
        faults = _count(len(report.faults) + report.faults_left_out, "fault")
        found = f"{faults}, {_count(report.records, 'record')} could be read"
        msg = f"{path} is not complete: {found}; pass allow_incomplete=True to recover these"
        raise IncompleteError(msg, records=records, report=report)
    return Recovered(records, tuple(gathered.conflicts), report)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class _Gathered:
    """The records so far.  Within a segment the LSN counts; what an earlier one had is kept aside until its end."""

    def __init__(self, path: Path, on_conflict: str) -> None:
        self.path = path
        self.on_conflict = on_conflict
        self.conflicts: list[Conflict] = []
        self._records: dict[int, Record] = {}
        self._before: dict[int, Record] = {}
        self._place = -1
        self._turn = 0

    def add(self, place: int, batch: list[Record]) -> None:
        if place != self._place:
            self._merge()
            self._place, self._turn = place, self._turn + 1
        for new in index(self._records, batch, self._turn, self._before):
            # More than one of an id in this batch: the one to compare with is the one that counts by now.
            old = self._records[new.id]
            self._settle(old, new, newer=new.lsn >= old.lsn)

    def finish(self) -> dict[int, Record]:
        self._merge()
        return self._records

    def _merge(self) -> None:
        for id_, old in self._before.items():
            self._settle(old, self._records[id_], newer=True)
        self._before.clear()

    def _settle(self, old: Record, new: Record, *, newer: bool) -> None:
        takes_over = newer and self.on_conflict != "first"
        kept, dropped = (new, old) if takes_over else (old, new)
        self._records[old.id] = kept
        if same_value(old, new):
            return
        if self.on_conflict == "error":
            msg = f"{self.path} gives id {old.id} two values, with LSN {old.lsn} and LSN {new.lsn}"
            raise CorruptionError(msg, kind="conflict", lsn=new.lsn)
        self.conflicts.append(Conflict(old.id, kept, dropped))
