"""What threads did with a log, as each of them saw it, and whether one order of all calls explains it.

Every call is noted with the tick before it and the tick after it, of one clock that counts: a call that ended before
another began has the smaller tick.  A log's calls take their place by LSN, so linearizability comes to bounds: what had
ended before a call began it must have seen, and what began after its end it can't have seen.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

LOG: Final = "log"
"""The LSNs `low` to `high` were given to `ids`, to all of them if `exact`; more LSNs than ids: others lie between."""
GIVEN, WRITTEN, DURABLE = "last_lsn", "written_lsn", "durable_lsn"
"""The counter was at least `low` at the end of the call; with `exact` it was just that at some time during it."""
READ: Final = "read"
"""A reader saw `rows`, LSN to id, and with `exact` called them complete."""
PURGE: Final = "purge"
CLOSE: Final = "close"


class Call(NamedTuple):
    """A call that returned; `begin` and `end` are ticks."""

    what: str
    begin: int
    end: int
    low: int = 0
    high: int = 0
    ids: Sequence[int] = ()
    rows: Mapping[int, int] = MappingProxyType({})
    exact: bool = False

    def __str__(self) -> str:
        return f"{self.what} of {self.low} to {self.high}, from tick {self.begin} to {self.end}"


class Notes:
    """The calls of one thread."""

    def __init__(self, ticks: Iterable[int]) -> None:
        self.calls: list[Call] = []
        self.tick: Callable[[], int] = iter(ticks).__next__

    def add(self, what: str, begin: int, low: int = 0, high: int = 0, **rest: Any) -> None:
        """Note a call that has just returned."""
        self.calls.append(Call(what, begin, self.tick(), low, high, **rest))


class Highest:
    """Of pairs of tick and value: the highest value before any tick."""

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(pairs)
        self._ticks = [tick for tick, _ in ordered]
        self._values = list(itertools.accumulate((value for _, value in ordered), max))

    def before(self, tick: int) -> int:
        at = bisect_left(self._ticks, tick)
        return self._values[at - 1] if at else 0


class History:
    """The notes of all threads, and the laws that they must obey; each raises AssertionError."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1)
        self._notes: list[Notes] = []

    def notes(self) -> Notes:
        """For one more thread."""
        self._notes.append(Notes(self._ticks))
        return self._notes[-1]

    def check(self, left: dict[int, int]) -> int:
        """Judge, given LSN to id of what is read in the end; returns the number of calls."""
        calls = [call for notes in self._notes for call in notes.calls]
        self.of = {what: [call for call in calls if call.what == what] for what in ORDER}
        logs = self.of[LOG]
        # What had been logged for sure, and what may have been logged, at a tick.
        self.surely = Highest((call.end, call.high) for call in logs)
        self.maybe = Highest((call.begin, call.high) for call in logs)
        self.ids = dict(pair for call in logs for pair in places(call))
        self.known = {what: self.reached(what) for what in (GIVEN, WRITTEN, DURABLE)}
        for what in self.known:
            self.check_counter(what)
        self.check_log()
        for call in self.of[READ]:
            self.check_reader(call)
        self.check_left(left)
        return len(calls)

    def reached(self, what: str) -> Highest:
        """What the counter was known to have reached: it, and those that never go before it."""
        behind = ORDER[ORDER.index(what) :]
        pairs = [(call.end, call.low) for one in behind for call in self.of[one]]
        return Highest(pairs + [(call.end, call.high) for call in self.of[LOG] if what == GIVEN])

    def check_log(self) -> None:
        given = self.known[GIVEN]
        spans = sum(len(list(places(call))) for call in self.of[LOG])
        assert spans == len(self.ids), "an LSN was given twice"
        for call in self.of[LOG]:
            assert call.low > given.before(call.begin), f"{call}: began when {given.before(call.begin)} was given"
            assert not call.exact or call.high - call.low + 1 >= len(call.ids), f"{call}: fewer LSNs than ids"
            assert not any(end.end < call.begin for end in self.of[CLOSE]), f"{call}: after the log was closed"

    def check_counter(self, what: str) -> None:
        known = self.known[what]
        for call in self.of[what]:
            assert call.low <= self.maybe.before(call.end), f"{call}: of what nobody had logged"
            assert not call.exact or call.low >= known.before(call.begin), (
                f"{call}: fell from {known.before(call.begin)}"
            )

    def purged(self, tick: int) -> tuple[int, int]:
        """At a tick all up to the first LSN was gone, and nothing above the second."""
        done = [self.surely.before(call.begin) for call in self.of[PURGE] if call.end < tick]
        begun = [self.maybe.before(call.end) for call in self.of[PURGE] if call.begin < tick]
        return max(done, default=0), max(begun, default=0)

    def check_reader(self, call: Call) -> None:
        first, last = min(call.rows, default=0), max(call.rows, default=0)
        gone, may_be_gone = self.purged(call.begin)[0], self.purged(call.end)[1]
        assert last <= self.maybe.before(call.end), f"{call}: {last} was not logged by then"
        assert not last or first > gone, f"{call}: began when all up to {gone} was purged, {first} was read"
        assert list(call.rows) == sorted(call.rows), f"{call}: read out of order"
        for lsn, id in call.rows.items():
            assert self.ids.get(lsn, id) == id, f"{call}: LSN {lsn} was given to {self.ids[lsn]}, {id} was read"
        if any(purge.begin < call.end and call.begin < purge.end for purge in self.of[PURGE]):
            return  # its files go while they are read
        written = self.known[WRITTEN].before(call.begin)
        assert call.exact, f"{call}: called incomplete"
        assert not last or len(call.rows) == last - first + 1, f"{call}: {first} to {last} was read with holes"
        assert max(last, may_be_gone) >= written, f"{call}: began when {written} was written, {last} was read"
        assert not last or first - 1 <= may_be_gone, f"{call}: {first} was read, at most {may_be_gone} was purged"

    def check_left(self, left: dict[int, int]) -> None:
        last = max((call.high for call in self.of[LOG]), default=0)
        first = min(left, default=last + 1)
        gone, may_be_gone = self.purged(1 << 60)
        assert list(left) == list(range(first, last + 1)), "what is left has a hole, or is out of order"
        assert gone <= first - 1 <= may_be_gone, f"left from {first} on; purged were {gone} to {may_be_gone}"
        for lsn, id in self.ids.items():
            assert lsn < first or left[lsn] == id, f"LSN {lsn} was given to {id}, and is left with {left[lsn]}"
        for call in self.of[LOG]:
            self.check_slices(call, {lsn: left[lsn] for lsn in range(max(first, call.low), call.high + 1)})

    def check_slices(self, call: Call, left: dict[int, int]) -> None:
        """Of a call longer than a half, and of one cut off: its ids in their order, others' between them."""
        mine = dict.fromkeys(call.ids)
        found = [id for id in left.values() if id in mine]
        if found:
            begin = call.ids.index(found[0])
            assert found == list(call.ids[begin : begin + len(found)]), f"{call}: {found} is left of {call.ids}"
            assert call.low not in left or begin == 0, f"{call}: begins with {found[0]}, not {call.ids[0]}"
        if call.exact and left:
            assert found[-1:] == list(call.ids[-1:]), f"{call}: ends with {found[-1:]}, not {call.ids[-1]}"


ORDER = (LOG, PURGE, CLOSE, READ, GIVEN, WRITTEN, DURABLE)


def places(call: Call) -> Iterable[tuple[int, int]]:
    """LSN and id of what was logged, where that is known."""
    if not call.exact or call.high - call.low + 1 != len(call.ids):
        return ()
    return zip(range(call.low, call.high + 1), call.ids, strict=True)
