"""Recovery: the whole dictionary of a log, id -> record, and every id that the log gives two values.

With a bound on memory the dictionary goes to a temporary file.  Of an id the newest of each segment is kept until all
is read; then the runs are merged, and what the segments had is settled as it is in memory: in their order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from sys import getsizeof
from typing import TYPE_CHECKING, Final

from walcore._core.record import Record, index, same_value, turn_of, weigh
from walcore.errors import CorruptionError, IncompleteError
from walcore.reader import Pass, ReadMode, Report, read_mode
from walcore.segments import Directory
from walcore.spill import BLOCK, Run, SpilledRecords, SpillFile, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIN_MEMORY: Final = 1024 * 1024
"""The least `max_memory`."""
MAX_CONFLICTS: Final = 10_000
"""So many are kept at most where memory is bounded."""
_ID: Final = attrgetter("id")
_CHOICES: Final = ("last", "first", "error")


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two records give `id` two values; `kept` is the one that counts so far, `dropped` the other."""

    id: int
    kept: Record
    dropped: Record


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a log holds: `records` by id, the `conflicts` in the order met, and the reader's `report`.

    `conflicts_left_out` counts those behind MAX_CONFLICTS, and behind `max_memory` bytes, where memory is bounded.
    """

    records: Mapping[int, Record]
    conflicts: tuple[Conflict, ...]
    report: Report
    conflicts_left_out: int = 0


def recover(
    directory: str | os.PathLike[str],
    *,
    allow_incomplete: bool = False,
    on_conflict: str = "last",
    mode: ReadMode | str = ReadMode.SEGMENT,
    max_memory: int | None = None,
) -> Recovered:
    """Read a log into a dictionary of its records by id.

    With `max_memory` it comes by rising id, and in a temporary file if it takes more: a SpilledRecords, which is read
    like a dictionary, `records.values()` streaming it, and closed by `records.close()` or by being dropped.

    Args:
        directory: the log's folder.
        allow_incomplete: return what could be read of a damaged log instead of raising.
        on_conflict: which of two values of one id counts: "last", the newest (that of the later segment, within a
            segment that of the higher LSN), "first", the one met first, as RDF4J has it, or "error".
        mode: how to read, see `read`.
        max_memory: bytes that the dictionary may take in memory, None for any number.  What reading takes, 5 to 10 MiB,
            isn't counted, nor are conflicts, which may take as much again; and all that the segments have of one id is
            in memory at once.  Conflicts come in the order of ids then, but for those within a segment, and of three
            values of one id other pairs may be told.  The temporary file lies in the folder that `tempfile` takes (the
            variable TMPDIR), which must be on a disk to be of any use, and takes up to twice what is in the log.

    Raises:
        IncompleteError: the log isn't complete; `.records` and `.report` hold what there is.
        CorruptionError: two values of one id under "error"; any fault in mode STRICT.
        FileNotFoundError: there is no such directory.
        OSError: reading fails, or writing the temporary file.
        ValueError: `on_conflict` or `mode` is none of those, or `max_memory` below MIN_MEMORY.
    """
    if on_conflict not in _CHOICES:
        msg = f"on_conflict must be one of {', '.join(_CHOICES)}, got {on_conflict!r}"
        raise ValueError(msg)
    if max_memory is not None and max_memory < MIN_MEMORY:
        msg = f"max_memory must be at least {MIN_MEMORY}, got {max_memory}"
        raise ValueError(msg)
    path = Path(directory)
    Directory(path).close()
    current = Pass(path, read_mode(mode))
    gathered = _Gathered(path, on_conflict) if max_memory is None else _Bounded(path, on_conflict, max_memory)
    for place, batch in current.batches():
        gathered.add(place, batch)
    records, report = gathered.finish(), current.report()
    if not report.complete and not allow_incomplete:
        faults = _count(len(report.faults) + report.faults_left_out, "fault")
        found = f"{faults}, {_count(report.records, 'record')} could be read"
        msg = f"{path} is not complete: {found}; pass allow_incomplete=True to recover these"
        raise IncompleteError(msg, records=records, report=report)
    return Recovered(records, tuple(gathered.conflicts), report, gathered.conflicts_left_out)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class _Gathered:
    """The records so far.  Within a segment the LSN counts; what an earlier one had is kept aside until its end."""

    def __init__(self, path: Path, on_conflict: str) -> None:
        self.path = path
        self.on_conflict = on_conflict
        self.conflicts: list[Conflict] = []
        self.conflicts_left_out = 0
        self._records: dict[int, Record] = {}
        self._before: dict[int, Record] = {}
        self._place = -1
        self._turn = 0

    def add(self, place: int, batch: list[Record]) -> None:
        if place != self._place:
            self._end_turn()
            self._place, self._turn = place, self._turn + 1
        for new in index(self._records, batch, self._turn, self._before):
            # More than one of an id in this batch: the one to compare with is the one that counts by now.
            self._records[new.id] = self._higher(self._records[new.id], new)

    def finish(self) -> Mapping[int, Record]:
        self._end_turn()
        return self._records

    def _end_turn(self) -> None:
        for id_, old in self._before.items():
            self._records[id_] = self._kept(old, self._records[id_])
        self._before.clear()

    def _higher(self, old: Record, new: Record) -> Record:
        """Of two records of one id in one segment, the one that counts."""
        return self._kept(old, new, newer=new.lsn >= old.lsn)

    def _kept(self, old: Record, new: Record, *, newer: bool = True) -> Record:
        """Of two records of one id, the one that counts; that their values differ is noted."""
        takes_over = newer and self.on_conflict != "first"
        kept, dropped = (new, old) if takes_over else (old, new)
        if same_value(old, new):
            return kept
        if self.on_conflict == "error":
            msg = f"{self.path} gives id {old.id} two values, with LSN {old.lsn} and LSN {new.lsn}"
            raise CorruptionError(msg, kind="conflict", lsn=new.lsn)
        self._tell(Conflict(old.id, kept, dropped))
        return kept

    def _tell(self, conflict: Conflict) -> None:
        self.conflicts.append(conflict)


class _Bounded(_Gathered):
    """The same in bounded memory: runs in a file hold what each segment had of an id, settled at the end."""

    def __init__(self, path: Path, on_conflict: str, max_memory: int) -> None:
        super().__init__(path, on_conflict)
        self._max_memory = max_memory
        self._conflicts_weight = 0
        self._weight = 0
        self._earlier: list[Record] = []
        self._file: SpillFile | None = None
        self._runs: list[Run] = []

    def add(self, place: int, batch: list[Record]) -> None:
        super().add(place, batch)
        self._weight += weigh(batch)
        if self._weight > self._max_memory:
            self._spill()

    def finish(self) -> Mapping[int, Record]:
        if self._file is None:
            return {record.id: record for record in self._settled(self._sorted())}
        self._spill()
        chunks = merged(map(self._file.read, self._runs))
        with self._file:
            return SpilledRecords(map(self._settled, chunks))

    def _tell(self, conflict: Conflict) -> None:
        for one in (conflict.kept, conflict.dropped):
            self._conflicts_weight += sum(map(getsizeof, (one.lexical, one.datatype, one.language)))
        if len(self.conflicts) < MAX_CONFLICTS and self._conflicts_weight <= self._max_memory:
            self.conflicts.append(conflict)
        else:
            self.conflicts_left_out += 1

    def _end_turn(self) -> None:
        self._earlier += self._before.values()
        self._before.clear()

    def _sorted(self) -> list[Record]:
        """All that is in memory, by id, and of one id by segment; it is given up here."""
        self._end_turn()
        records = [*self._earlier, *self._records.values()]
        self._earlier, self._records, self._weight = [], {}, 0
        records.sort(key=_ID)
        return records

    def _spill(self) -> None:
        if self._file is None:
            self._file = SpillFile()
        self._runs.append(self._file.write([self._sorted()]))
        if len(self._runs) * 2 * BLOCK > self._max_memory:  # merging them takes a block of each
            # Into a file of its own: what the runs took is given back.
            fresh = SpillFile()
            with self._file:
                self._runs = [fresh.write(merged(map(self._file.read, self._runs)))]
            self._file = fresh

    def _settled(self, records: list[Record]) -> list[Record]:
        """One of each id."""
        if len(set(map(_ID, records))) == len(records):
            return records
        return [reduce(self._kept, self._of_turns(same)) for _, same in groupby(records, _ID)]

    def _of_turns(self, records: Iterable[Record]) -> Iterator[Record]:
        for _, same in groupby(records, turn_of):
            yield reduce(self._higher, same)
