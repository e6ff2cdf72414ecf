"""What is wrong with a log, what each file is good for, and what is lost: the reading half of `repair`.

Nothing here changes anything.  Every file named like a segment is read, and ends in a place (a number of the log, with
the files that its frames come from) or aside.  What has no readable header is placed by the LSNs of its records, where
a number is free.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from walcore._core.encode import header_frame
from walcore.errors import StoreMismatchError, WalError
from walcore.faults import HARMLESS, Fault, FaultKind
from walcore.findings import Diagnosis, Gap, Place
from walcore.format import MAX_INT32, MAX_LSN, PURGE_NAME
from walcore.plan import (
    cut_off,
    find_losses,
    foreign,
    known_size,
    known_sizes,
    list_all,
    missing,
    replaced,
    same_store,
    vouches,
)
from walcore.salvage import Salvage, examine, header_bytes, ids_in, only_in, told_by
from walcore.spans import Spans
from walcore.state import read_state

if TYPE_CHECKING:
    from walcore.segments import Directory, Segment
    from walcore.state import State

_NAME: Final = re.compile(r"wal-([0-9]{1,10})\.v1(\.gz)?")
_MAX_GAP: Final = 10_000
FOREIGN: Final = "it belongs to another store"


def diagnose(directory: Directory, store_uuid: str | None) -> Diagnosis:
    """Read all of a directory.

    Raises:
        StoreMismatchError: it is the log of another store than `store_uuid`, or nothing tells of which.
        WalError: something in the directory has to be moved away by hand first.
        OSError: a file can't be read.
    """
    if directory.read_marker() is not None:
        msg = f"a purge of {directory.path} was begun: open the log once, which finishes it, before it is repaired"
        raise WalError(msg)
    state, segments = read_state(directory), list_all(directory)
    for segment in segments:
        if segment.irregular:
            msg = f"{segment.path}: {segment.problem}; move it away by hand, then repair the log"
            raise WalError(msg)
    store = _owner(directory, state, segments, store_uuid)
    work = _Work(directory, Diagnosis(store, state, state.first_number if state else 1), state)
    work.found.marker_damaged = directory.has(PURGE_NAME)
    work.read(segments)
    work.place()
    work.find_gaps()
    work.count_losses()
    return work.found


def _owner(directory: Directory, state: State | None, segments: list[Segment], asked: str | None) -> str:
    stores = {segment.header.store for segment in segments if segment.header}
    known = state.store if state else stores.pop() if len(stores) == 1 else None
    if known is not None and asked is not None and not same_store(known, asked):
        msg = f"{directory.path} holds the log of store {known}, not of {asked}; nothing was changed"
        raise StoreMismatchError(msg)
    if known is None and asked is None and segments:
        what = f"segments of {len(stores)} stores are there" if stores else "no header can be read"
        msg = f"nothing in {directory.path} tells whose log it is ({what}): name the store (--store, store_uuid=)"
        raise StoreMismatchError(msg)
    return known or asked or ""


class _Work:
    """The steps of `diagnose`, in the order of its calls."""

    def __init__(self, folder: Directory, found: Diagnosis, state: State | None) -> None:
        self.folder = folder
        self.found = found
        self.state = state
        self.sizes = known_sizes(state) if state else {}
        self.vouched_number = 0
        self.files: list[Salvage] = []
        self.strays: list[Salvage] = []
        self.told_ids: set[int] = set()
        self.intervals: list[tuple[int, int | None]] = []
        """LSNs between which damage lies, both exclusive."""

    def read(self, segments: list[Segment]) -> None:
        own = []
        for segment in segments:
            fault = foreign(segment, self.found.store)
            if fault is None:
                own.append(segment)
            else:
                self.found.faults.append(fault)
                self.found.aside.append((examine(self.folder, segment, 0), FOREIGN))
        if self.state:
            self.found.losses = find_losses(self.state, own)
            if any(vouches(self.state, segment) for segment in own):
                self.vouched_number = self.state.number
        for segment in own:
            known = 0 < segment.number <= self.vouched_number
            self.files.append(examine(self.folder, segment, segment.size if known else known_size(segment, self.sizes)))

    # -- what goes where ----------------------------------------------------------------------------------------------

    def place(self) -> None:
        """Give every file its place, or set it aside."""
        numbered = defaultdict(list)
        for one in self.files:
            if one.segment.header is None:
                self.strays.append(one)
            elif foreign(one.segment, self.found.store):
                self.found.aside.append((one, FOREIGN))
            else:
                numbered[one.segment.number].append(one)
        self.found.places = [self._placed(number, numbered[number]) for number in sorted(numbered)]
        for stray in sorted(self.strays, key=lambda one: one.lsns.first):
            self._place_stray(stray)
        self.found.faults.sort(key=lambda fault: fault.kind is not FaultKind.FOREIGN_STORE)
        for place in self.found.places:
            self._say(place)

    def _placed(self, number: int, files: list[Salvage]) -> Place:
        files.sort(key=self._rank)
        place = Place(number, files[:1])
        for other in files[1:]:
            self._complement(place, other, f"{files[0].name} has the same number")
        return place

    def _rank(self, one: Salvage) -> tuple[bool, bool, int, str]:
        """As readers choose: the sound one counts, the plain one if both are, else the one that gets furthest."""
        bad = bool(one.faults) or self._short(one) is not None
        return bad, not bad and one.segment.sealed, -_end(one) if bad else 0, one.name

    def _complement(self, place: Place, other: Salvage, why: str) -> None:
        """Let another file of the same segment give what is missing; it goes aside in any case."""
        one, two = place.sources[0].segment.header, other.segment.header
        if (two is None or one == two) and other.lsns - place.lsns:
            place.sources.append(other)
        self.found.aside.append((other, why))

    def _place_stray(self, stray: Salvage) -> None:
        twin = next((p for p in self.found.places if stray.plain_name == p.sources[0].plain_name), None)
        if twin is not None:
            self._complement(twin, stray, f"{twin.sources[0].name} is the same segment")
            return
        new, number = only_in(stray, self._sources()), self._free_number(stray)
        if number and new:
            place = Place(number, [stray], "its header is made anew")
            self.found.places = sorted([*self.found.places, place], key=lambda one: one.number)
        elif new:
            self.found.aside.append((stray, "its header can't be read, and no number is free where its records belong"))
        else:
            self.found.aside.append((stray, stray.segment.problem or "no header"))

    def _sources(self) -> list[Salvage]:
        return [source for place in self.found.places for source in place.sources]

    def _free_number(self, stray: Salvage) -> int | None:
        before = [p.number for p in self.found.places if p.lsns and p.lsns.first < stray.lsns.first]
        number = max(before, default=self.found.first - 1) + 1
        behind = [p.number for p in self.found.places if p.lsns and p.lsns.first > stray.lsns.first]
        taken = {p.number for p in self.found.places}
        while number in taken and number < min(behind, default=MAX_INT32):
            number += 1
        return None if number in taken or number >= min(behind, default=MAX_INT32) else number

    def _say(self, place: Place) -> None:
        """Why a place has to be written anew, and where its header comes from."""
        one = place.sources[0]
        if one.segment.header is None:
            match = _NAME.fullmatch(one.name)
            first_id = int(match[1]) if match and int(match[1]) <= MAX_INT32 else one.first_id
            place.header = header_frame(self.found.store, self._created(place.number), place.number, first_id)
        elif one.disguise:
            place.why = one.disguise
        elif len(place.sources) > 1:
            place.why = f"{place.sources[1].name} has records that it lacks"
        elif one.faults and not one.tear:
            place.why = f"{one.faults[0].kind} at byte {one.faults[0].offset}"
        if place.why and place.header is None:
            place.header = header_bytes(one)

    def _created(self, number: int) -> int:
        """When the nearest segment was made: a new header has to have some time, and the same one each time."""
        made = [(abs(p.number - number), p.sources[0].segment.header) for p in self.found.places]
        near = min((pair for pair in made if pair[1]), key=lambda pair: pair[0], default=None)
        return near[1].created if near and near[1] else 0

    # -- what is missing ----------------------------------------------------------------------------------------------

    def find_gaps(self) -> None:
        """Look for numbers that no file has, and put the faults in the order of the log."""
        found, before, highest_id, expected, rebuilt = self.found, 0, 0, self.found.first, False
        for one in [*self.strays, *(one for one in self.files if one.disguise)]:
            kept = any(one is source for source in self._sources())
            found.faults.extend(one.faults[:1] if kept or not one.lsns else one.faults)
        for place in found.places:
            if place.number - expected > _MAX_GAP:
                name = place.sources[0].name
                msg = (
                    f"{self.folder.path}: segments {expected} to {place.number - 1} are missing, too many to be stood "
                    f"for: put them back, or move {name}, which has number {place.number}, away by hand"
                )
                raise WalError(msg)
            for number in range(expected, place.number):
                first_id = min(highest_id + 1, MAX_INT32)
                found.gaps.append(Gap(number, first_id, self._created(number)))
            headless = place.sources[0].segment.header is None
            if (rebuilt or headless or place.number > expected) and place.lsns:
                self.intervals.append((before, place.lsns.first))
            self._meet(place, before)
            expected, rebuilt = max(expected, place.number + 1), headless
            highest_id = max(source.highest_id for source in place.sources)
            before = max(before, place.lsns.last)
        if rebuilt or found.losses:  # only of what the state knows to be lost it tells the end
            self.intervals.append((before, self.state.last_lsn + 1 if self.state and found.losses else None))
        self._miss()

    def _miss(self) -> None:
        """The faults that numbers are missing, which reading, too, names where no header has them."""
        found, visible = self.found, {one.segment.number for one in self.files if not one.disguise}
        lost = max((loss.number for loss in found.losses), default=0)
        expected = found.first
        for number in [*sorted(visible), max(lost, *visible, 0, self.vouched_number) + 1]:
            for fault in missing(expected, number):
                before = max((p.lsns.last for p in found.places if p.number < expected), default=0)
                after = min((p.lsns.first for p in found.places if p.number >= expected and p.lsns), default=0)
                found.faults.append(replace(fault, lsn_before=before or None, lsn_after=after or None))
            expected = max(expected, number + 1)
        found.faults.extend(replaced(found.losses, visible))

    def _meet(self, place: Place, before: int) -> None:
        one = place.sources[0]
        after = next((p.lsns.first for p in self.found.places if p.number > place.number and p.lsns), None)
        for other, why in self.found.aside:
            if (
                why != FOREIGN
                and other.segment.number == place.number
                and other.segment.header
                and other not in self.strays
            ):
                detail = f"{one.name} has the same number and counts"
                self.found.faults.append(Fault(FaultKind.DUPLICATE_SEGMENT, other.name, 0, detail))
                if one.faults:
                    self.found.faults.extend(other.faults[:1])
        short = self._short(one)
        faults = list(one.faults)
        if short and one.runs and one.runs[-1][1] == one.segment.size:
            faults.append(replace(short, lsn_before=one.lsns.last or None))
        for met in faults if one.segment.header and not one.disguise else one.faults[1:]:
            fault = replace(met, lsn_before=met.lsn_before or before or None, lsn_after=met.lsn_after or after)
            self.found.faults.append(fault)
            if fault.kind not in HARMLESS:
                self._lose(place, one, fault)

    def _lose(self, place: Place, one: Salvage, fault: Fault) -> None:
        self.told_ids.update(one.ids)
        told = told_by(one, fault)
        if told is not None:
            self.intervals.append((told[0] - 1, told[0] + 1))
            self.found.lost_ids.add(told[1])
        else:
            self.intervals.append((fault.lsn_before or 0, fault.lsn_after or self._tail(place.number)))

    def _short(self, one: Salvage) -> Fault | None:
        return None if one.disguise else cut_off(one.segment, self.sizes)

    def _kept(self) -> Spans:
        kept = Spans()
        for place in self.found.places:
            kept |= place.lsns
        return kept

    # -- what is lost -------------------------------------------------------------------------------------------------

    def _tail(self, number: int) -> int | None:
        """The LSN that comes behind the last one of segment `number`, the log's last; None if nothing tells."""
        state = self.state
        if state is None or not (number <= self.vouched_number or (state.clean and number <= state.number)):
            return None
        return state.last_lsn + 1

    def count_losses(self) -> None:
        """LSNs between which damage lies and that no record has, and those of records that go aside."""
        found, kept, aside = self.found, self._kept(), Spans()
        last = max((place.number for place in found.places), default=0)
        blind = [s for s in self.strays if s.segment.size and not s.lsns and any(s is one for one, _ in found.aside)]
        if blind and not found.gaps:  # it can have been anything behind the last
            # A state that isn't of a clean close, or is a purge's, says nothing of a segment begun since.
            told = found.losses or (self.state and self.state.clean and self.state.number)
            self.intervals.append((kept.last, self._tail(last) if told else None))
        starts = [before + 1 for before, after in self.intervals if after is None]
        tail = max(starts, default=MAX_LSN + 1)
        ends = [(before + 1, (after or tail) - 1) for before, after in self.intervals]
        lost = Spans(sorted((first, last) for first, last in ends if first <= last))
        for one, why in found.aside:
            gone = {} if why == FOREIGN else only_in(one, self._sources())
            aside |= Spans((lsn, lsn) for lsn in sorted(gone))
            found.lost_ids.update(gone.values())
        # What a header or a summary tells of may be in another file.
        found.lost_ids.update(self.told_ids - ids_in(self._sources(), self.told_ids))
        found.lost = [(first, min(end, tail - 1)) for first, end in (lost - kept) | aside if first < tail]
        if starts:
            found.lost.append((tail, None))


def _end(one: Salvage) -> int:
    return one.runs[0][1] if one.runs else 0
