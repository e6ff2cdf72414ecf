"""What of a directory is to be read: which files count, in which order, and what is wrong with their names alone."""

from __future__ import annotations

import errno
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from walcore.faults import Fault, FaultKind
from walcore.files import advised, closing_at_error, told
from walcore.format import is_segment_name
from walcore.frames import SegmentCheck, check_segment
from walcore.state import Loss, State, find_state
from walcore.system import calls

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from walcore.segments import Directory, PurgeMarker, Segment

    Look = Callable[[str], Segment | None]

_EMPTY: Final = "empty"
_ATTEMPTS: Final = 5
_LISTINGS: Final = 50


@dataclass(slots=True)
class Plan:
    """What of a directory is to be read: the files of each number (more than one is a fault), and what is wrong."""

    numbered: dict[int, list[Segment]] = field(default_factory=dict)
    headless: list[Segment] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    first: int = 1
    """The number that the log begins with if nothing is missing."""
    last: int = 0
    """The greatest number that is there, or is known to have been on disk."""
    vouched: int = 0
    """What lies in segments up to this number was on disk."""
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    """By number and header CRC, the bytes that a plain segment is known to have had on disk."""

    def known(self, segment: Segment) -> int:
        """How many bytes of `segment`, from its start, are known to have been on disk: no fault in them is a tear."""
        on_disk = 0 < segment.number <= self.vouched
        return segment.size if on_disk else known_size(segment, self.sizes)

    def cut_off(self, segment: Segment) -> Fault | None:
        """The fault that the end of `segment` was lost; None if it wasn't."""
        return cut_off(segment, self.sizes)


def list_all(directory: Directory, look: Look | None = None) -> list[Segment]:
    """The segments of a directory, none left out because it was being sealed; `look` as for `plan`.

    Listing names and looking at files takes many steps: a plain file can go in between, its sealed one not yet listed.
    So names are listed again until nothing has changed; what was read already isn't read again, but for the last plain
    file: it may have grown before the one behind it was begun.
    """
    seen: dict[str, Segment] = {}
    names = _names(directory)
    for _ in range(_LISTINGS):
        if growing := [segment for segment in seen.values() if not segment.sealed]:
            del seen[max(growing, key=lambda segment: segment.number).name]
        for name in names - seen.keys():
            segment = look(name) if look else directory.segment(name, forbidden=True)
            if segment is not None:
                seen[name] = segment
        now = _names(directory)
        seen = {name: segment for name, segment in seen.items() if name in now}
        if now == names == seen.keys():
            break
        names = now
    return sorted(seen.values(), key=lambda segment: (segment.number, segment.sealed, segment.name))


def _names(directory: Directory) -> set[str]:
    return {name for name in directory.names() if is_segment_name(name)}


def plan(directory: Directory, look: Look | None = None) -> Plan:
    """List `directory` and decide what counts.  What the marker of an unfinished purge lists is gone.

    `look` is asked for the segment of a name, None if it is gone, instead of reading the file's header.
    """
    # The state before the listing: what it speaks of then has to be there, unless it was purged in between.
    state = find_state(directory)
    segments = list_all(directory, look)
    if state and (state.losses or state.number > max((s.number for s in segments), default=0)):
        state = find_state(directory)
        segments = list_all(directory, look)
    with advised():
        marker = directory.read_marker()
    store = owner(segments, state, marker) or ""
    if marker is not None:
        segments = [segment for segment in segments if not marker.lists(segment)]
        state = None
    found = Plan(headless=[segment for segment in segments if segment.header is None])
    found.faults = [_headless_fault(segment) for segment in found.headless]
    for segment in segments:
        fault = foreign(segment, store)
        if fault is not None:
            found.faults.append(fault)
        elif segment.header is not None:
            found.numbered.setdefault(segment.number, []).append(segment)
    found.last = max(found.numbered, default=0)
    if state is not None:
        _heed(state, found)
    return found


def owner(segments: Iterable[Segment], state: State | None, marker: PurgeMarker | None) -> str | None:
    """The uuid of the store whose log this is, for opening and reading alike; None if nothing tells.

    What walcore has once opened stays that store's, whatever is put beside it: else what it acknowledged afterwards
    would be passed over as foreign.  A log that only RDF4J wrote is that of the newest header.
    """
    known = [small.store for small in (state, marker) if small]
    return known[0] if known else next((s.header.store for s in reversed(list(segments)) if s.header), None)


def same_store(one: str, other: str) -> bool:
    """Whether two spellings are of the same uuid."""
    with suppress(ValueError):
        return one == other or uuid.UUID(one) == uuid.UUID(other)
    return False


def foreign(segment: Segment, store: str) -> Fault | None:
    """The fault that `segment` belongs to another store than `store`; None if it doesn't, or that can't be told."""
    if segment.header is None or same_store(segment.header.store, store):
        return None
    return Fault(FaultKind.FOREIGN_STORE, segment.name, 0, f"belongs to store {segment.header.store!r}, not {store!r}")


def vouches(state: State, segment: Segment) -> bool:
    """Whether `segment` is the one that the state vouches for.

    A state that doesn't fit vouches for nothing, unless the file is the same and merely too short: then it is damaged.
    """
    size = None if segment.sealed else max(segment.size, state.size)
    return segment.header is not None and state.fits(segment.number, segment.header.crc, size)


def find_losses(state: State, segments: Iterable[Segment]) -> tuple[Loss, ...]:
    """What the state knows to have been on disk and is no longer there, of `segments` of its store."""
    by_number: dict[int, list[Segment]] = {}
    for segment in segments:
        by_number.setdefault(segment.number, []).append(segment)
    losses = {(known.number, known.header_crc): known for known in state.losses}
    # Another segment in the place of the state's own is what RDF4J leaves that purged and began anew.
    last = by_number.get(state.number, ())
    if state.number and (not last or any(vouches(state, segment) for segment in last)):
        losses.setdefault((state.number, state.header_crc), Loss(state.number, state.header_crc, state.size, False))
    found = []
    for key, loss in losses.items():
        there = [s for s in by_number.get(loss.number, ()) if s.header and (s.number, s.header.crc) == key]
        if not any(s.sealed or s.size >= loss.size for s in there):
            found.append(replace(loss, short=bool(there)))
    return tuple(sorted(found, key=lambda loss: loss.number))


def known_sizes(state: State) -> dict[tuple[int, int], int]:
    """The bytes that plain segments are known to have had on disk, by number and header CRC."""
    sizes = {(loss.number, loss.header_crc): loss.size for loss in state.losses}
    return sizes | {(state.number, state.header_crc): state.size}


def known_size(segment: Segment, sizes: dict[tuple[int, int], int]) -> int:
    """The bytes of `segment` that are known to have been on disk; 0 for a sealed one, of which that says nothing."""
    return 0 if segment.sealed or segment.header is None else sizes.get((segment.number, segment.header.crc), 0)


def cut_off(segment: Segment, sizes: dict[tuple[int, int], int]) -> Fault | None:
    """The fault that `segment` has fewer bytes than were on disk; None if it hasn't."""
    size = known_size(segment, sizes)
    if segment.size >= size:
        return None
    detail = f"the file ends here, {size} bytes of it were known to be on disk"
    return Fault(FaultKind.CORRUPT_FRAME, segment.name, segment.size, detail)


def replaced(losses: Iterable[Loss], numbers: Container[int]) -> Iterator[Fault]:
    """The faults that whole segments went, of those whose numbers are there: others show as gaps."""
    for loss in losses:
        if not loss.short and loss.number in numbers:
            detail = "another segment has the number of one that was on disk"
            yield Fault(FaultKind.MISSING_SEGMENT, f"segment {loss.number}", 0, detail)


def _heed(state: State, found: Plan) -> None:
    losses = find_losses(state, (segment for files in found.numbered.values() for segment in files))
    found.first = state.first_number
    found.last = max([found.last, state.number, *(loss.number for loss in losses)])
    if any(vouches(state, segment) for segment in found.numbered.get(state.number, ())):
        found.vouched = state.number
    found.sizes = known_sizes(state)
    found.faults += replaced(losses, found.numbered)


def _headless_fault(segment: Segment) -> Fault:
    problem = segment.problem or _EMPTY
    kind = FaultKind.EMPTY_SEGMENT if problem == _EMPTY else FaultKind.UNREADABLE_SEGMENT
    return Fault(kind, segment.name, 0, problem)


def choose(directory: Directory, files: list[Segment], found: Plan) -> tuple[Segment, list[Fault]]:
    """Of several files of one number, the one that counts, and what the others are reported as.

    The sound one counts, the plain one (they come first) if both are; if none is sound, the one that gets furthest.
    """
    if len(files) == 1:
        return files[0], []
    checks: list[tuple[Segment, SegmentCheck]] = []
    for segment in files:
        try:
            check = check_segment(segment, found.known(segment), folder=directory)
        except FileNotFoundError:
            continue  # sealed since it was listed: the other one is what became of it
        short = found.cut_off(segment)
        if short and not check.faults:
            check = replace(check, faults=(short,))
        checks.append((segment, check))
        if not check.faults:
            break
    if len(checks) < 2 and (not checks or checks[0][0] is not files[0]):
        return (checks[0][0] if checks else files[0]), []
    sound = not checks[-1][1].faults
    chosen = checks[-1][0] if sound else max(checks, key=lambda pair: pair[1].end)[0]
    faults = [
        Fault(FaultKind.DUPLICATE_SEGMENT, segment.name, 0, f"{chosen.name} has the same number and counts")
        for segment in files
        if segment is not chosen
    ]
    if not sound:
        faults += [check.faults[0] for segment, check in checks if segment is not chosen]
    return chosen, faults


def sequence(directory: Directory, found: Plan) -> Iterator[list[Segment] | Fault]:
    """The files of each number, in order, or the fault that there is none.

    A number that wasn't listed is looked up once more before it counts as missing: a listing isn't done in one moment,
    and a segment being sealed may show under neither name.
    """
    expected = found.first
    late: dict[int, list[Segment]] | None = None
    for number in [*sorted(found.numbered), found.last + 1]:
        if number > expected:
            # Once is enough for all gaps: what is in neither of two listings isn't there, and each takes its time.
            late = plan(directory).numbered if late is None else late
            for other in sorted(n for n in late if expected <= n < number):
                yield from missing(expected, other)
                yield late[other]
                expected = other + 1
            yield from missing(expected, number)
        if number in found.numbered:
            yield found.numbered[number]
        expected = max(expected, number + 1)


def missing(number: int, end: int) -> Iterator[Fault]:
    """The fault that no file has the numbers from `number` to before `end`, if there are any."""
    if number < end:
        name = f"segment {number}" if number == end - 1 else f"segments {number} to {end - 1}"
        yield Fault(FaultKind.MISSING_SEGMENT, name, 0, "no file has this number")


def _now(directory: Directory, segment: Segment, fd: int) -> Segment | None:
    """What has the segment's name now, if it is the file that is open as `fd`."""
    # An inode number says nothing by itself, it is given out again; while the descriptor is open it isn't.
    now = directory.segment(segment.name, forbidden=True)
    with told("stat", segment.path):
        inode = calls.fstat(fd).st_ino
    return now if now is not None and now.inode == inode else None


def open_listed(directory: Directory, segment: Segment) -> tuple[int, Segment] | Fault:
    """Open a segment of a listing for reading, under its new name if it was sealed or copied since.

    Returns:
        The descriptor, and the segment as it is now: what is to be read is its first `size` bytes.  Or the fault that
        it can't be read.

    Raises:
        OSError: opening fails for any other reason than what the file is, and who may read it.
    """
    detail = "it went while the log was being read"
    for _ in range(_ATTEMPTS):
        try:
            fd = directory.open(segment.name)
        except FileNotFoundError:
            pass
        except PermissionError as error:
            detail = f"unreadable: {error.strerror}"
            break
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            detail = "not a regular file"
            break
        else:
            with closing_at_error(fd):
                now = _now(directory, segment, fd)
            if now is not None and _same(now, segment):
                return fd, segment if now.inode == segment.inode else now
            calls.close(fd)
            if now is not None and now.inode == segment.inode and now.header is None:
                return _headless_fault(now)  # its header was known from elsewhere
        again = [one for one in list_all(directory) if _same(one, segment)]
        if not again:
            return Fault(FaultKind.MISSING_SEGMENT, segment.name, 0, detail)
        segment = again[0]
    return Fault(FaultKind.UNREADABLE_SEGMENT, segment.name, 0, detail)


def _same(one: Segment, other: Segment) -> bool:
    """Whether two files hold the same segment; sealing and copying keep the header's bytes."""
    if one.header is None or other.header is None:
        return one.header is other.header and one.name == other.name
    return (one.number, one.header.crc) == (other.number, other.header.crc)
