"""What opening does to a directory that a crash, or RDF4J, left behind: whose it is, what is known, what is missing.

Every step can be cut off and done again.  What becomes of each segment is takeover.py's; besides, nothing is deleted
but temporary files, indexes that nobody needs, and what a purge had begun to delete.
"""

from __future__ import annotations

import errno
import logging
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from walcore import quarantine
from walcore.errors import StoreMismatchError, WalError, WalFullError
from walcore.format import (
    INDEX_SUFFIX,
    LOCK_NAME,
    MAX_LSN,
    SEALED_SUFFIX,
    STATE_NAME,
    is_index_name,
    is_segment_name,
)  # fmt: skip
from walcore.index import MIN_SEALED_BYTES
from walcore.plan import (
    find_losses,
    foreign,
    known_size,
    known_sizes,
    missing,
    owner,
    replaced,
    same_store,
    vouches,
)
from walcore.purge import begun, carry_out
from walcore.state import State, read_state, write_state
from walcore.takeover import Removed, Takeover

if TYPE_CHECKING:
    from collections.abc import Iterable

    from walcore.faults import Fault
    from walcore.segments import Directory, PurgeMarker, Segment
    from walcore.state import Loss

log = logging.getLogger("walcore")

_QUARANTINED: Final = re.compile(r".*\.lsn([0-9]+)(\.[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an opening found and did.

    `clean`: the log had been closed and nothing came after.  `state` is what the state file now says, or would say for
    an empty log.  `scanned` names the segments that were read in full.  `faults` is damage that stays where it is.
    `to_seal` is the plain segments to be sealed in the background, `to_index` the sealed ones that then get an index
    where none fits.
    """

    store_uuid: str
    next_lsn: int
    next_number: int
    has_segments: bool
    clean: bool
    state: State
    purge_finished: bool = False
    scanned: tuple[str, ...] = ()
    cut: tuple[Removed, ...] = ()
    quarantined: tuple[Removed, ...] = ()
    deleted: tuple[Removed, ...] = ()
    faults: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()
    to_seal: tuple[Segment, ...] = ()
    to_index: tuple[Segment, ...] = ()


def check_store(directory: Directory, store_uuid: str) -> None:
    """Refuse another store's log before so much as a lock file is made; a directory with one is looked at under it.

    Raises:
        StoreMismatchError: the directory holds the log of another store.
    """
    if not directory.has(LOCK_NAME):
        _owner(directory, store_uuid, directory.segments(), read_state(directory), begun(directory))


def open_directory(directory: Directory, store_uuid: str | None) -> Opening:
    """Bring a locked directory into order.  Called again after a crash anywhere in it, it goes on.

    Raises:
        StoreMismatchError: the directory holds the log of another store; nothing was written.
        CorruptionError: a purge began and its marker can't be read; nothing was written.
        WalError: the LSNs are used up.
        WalFullError: the disk is full; the log is as it was, and the message says how much room opening needs.
        OSError: reading or writing failed; no segment was changed that isn't whole and durable.
    """
    segments, state, marker = directory.segments(), read_state(directory), begun(directory)
    store = _owner(directory, store_uuid, segments, state, marker)
    directory.sync_parent()
    if marker:
        carry_out(directory, marker)
        segments, state = directory.segments(), read_state(directory)
    taken = Takeover(directory)
    try:
        opening = _Opener(directory, store, state, taken).run(segments, purge_finished=marker is not None)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        size, what = taken.writing
        msg = (
            f"opening {directory.path} needs about {size} bytes of free space to {what}: {exc.strerror}; nothing is "
            "lost, free some and open again"
        )
        raise WalFullError(msg) from exc
    _tell(directory, opening)
    return opening


def _tell(directory: Directory, opening: Opening) -> None:
    """Log all that was out of order, so that it is known even where nobody asks for `opening`."""
    for what, removals in (("cut off a tear of", opening.cut), ("moved away", opening.quarantined)):
        for one in removals:
            log.warning(
                "%s: %s %s, %d bytes from byte %d on, LSN %d before it, %d the highest (%s); they are in %s",
                directory.path, what, one.segment, one.size, one.offset, one.lsn_before, one.lsn_highest, one.reason,
                one.copy or "no other place",
            )  # fmt: skip
    for fault in opening.faults:
        log.warning(
            "%s: %s in %s at byte %d, LSN %s before it: %s",
            directory.path, fault.kind, fault.segment, fault.offset, fault.lsn_before, fault.detail,
        )  # fmt: skip


def _owner(
    directory: Directory, asked: str | None, segments: list[Segment], state: State | None, marker: PurgeMarker | None
) -> str:
    """The store's uuid: the log's owner, else the one asked for, else a new one."""
    store = owner(segments, state, marker)
    if store is None:
        if asked is None:
            asked = str(uuid.uuid4())
            log.info("%s: a new log, for store %s", directory.path, asked)
        return asked
    if asked is not None and not same_store(asked, store):
        msg = (
            f"{directory.path} holds the log of store {store}, not of {asked}; nothing was written.  Leave store_uuid "
            "out to open it as it is, or open the directory of your store"
        )
        raise StoreMismatchError(msg)
    return store


@dataclass(slots=True)
class _Opener:
    directory: Directory
    store: str
    state: State | None
    taken: Takeover
    warnings: list[str] = field(default_factory=list)
    foreign: list[Segment] = field(default_factory=list)
    losses: tuple[Loss, ...] = ()

    def run(self, segments: list[Segment], *, purge_finished: bool) -> Opening:
        self._remove_temporaries()
        own = [segment for segment in segments if self._is_own(segment)]
        self._believe_state(own)
        taken = self.taken
        for lsn in quarantine.lsns(self.directory):
            taken.saw_lsn(lsn)
        taken.take_all(own)
        self._remove_orphans()
        self.directory.sync()
        self._look_for_gaps()
        if taken.highest_lsn >= MAX_LSN:
            msg = f"{self.directory.path}: LSN {taken.highest_lsn} was given out, there is none above it"
            raise WalError(msg)
        clean, state = self._settle()
        sealed = {segment.name for segment in taken.kept if segment.sealed}
        return Opening(
            store_uuid=self.store,
            next_lsn=taken.highest_lsn + 1,
            next_number=max([self._lost_number(), *(s.number for s in taken.kept + self.foreign)]) + 1,
            has_segments=bool(taken.kept or self.foreign),
            clean=clean,
            state=state,
            purge_finished=purge_finished,
            scanned=tuple(taken.scanned),
            cut=tuple(taken.cut),
            quarantined=tuple(taken.quarantined),
            deleted=tuple(taken.deleted),
            faults=tuple(taken.faults),
            warnings=tuple(self.warnings),
            to_seal=tuple(s for s in taken.kept if self._sealable(s, sealed)),
            to_index=tuple(s for s in taken.kept if s.sealed and s.header and s.size >= MIN_SEALED_BYTES),
        )

    # -- what is known beforehand -------------------------------------------------------------------------------------

    def _remove_temporaries(self) -> None:
        removed, names = self.directory.remove_temporaries()
        self.warnings += (f"removed {name}, which a crash left half made" for name in names)
        if removed > len(names):
            self.warnings.append(f"removed {removed - len(names)} more of these")

    def _remove_orphans(self) -> None:
        """Indexes that nothing needs or mends: RDF4J's purge leaves those of what it deletes, and a small segment has
        none.
        """
        names = {name for name in self.directory.names() if is_index_name(name) or is_segment_name(name)}
        small = {segment.name for segment in self.taken.kept if segment.sealed and segment.size < MIN_SEALED_BYTES}
        for name in sorted(filter(is_index_name, names)):
            if name.removesuffix(INDEX_SUFFIX) in small or name.removesuffix(INDEX_SUFFIX) not in names:
                with suppress(OSError):  # nobody needs it, and a folder in its place stays
                    self.directory.drop(name)

    def _is_own(self, segment: Segment) -> bool:
        """False for another store's: it stays as it is, but its number and LSNs aren't given out again."""
        fault = foreign(segment, self.store)
        if fault is not None:
            self.foreign.append(segment)
            self.taken.check(segment)
            self.taken.faults.append(fault)
        return fault is None

    def _believe_state(self, segments: list[Segment]) -> None:
        state = self.state
        if state is None:
            return
        # Even one that doesn't fit knows of LSNs given out.
        self.taken.saw_lsn(state.last_lsn)
        if any(vouches(state, segment) for segment in segments):
            self.taken.vouched_number = state.number
        self.losses = find_losses(state, segments)
        self.taken.sizes = known_sizes(state)
        there = {segment.number for segment in segments if state.first_number <= segment.number <= state.number}
        gone = len(there) <= state.number - state.first_number or any(not loss.short for loss in self.losses)
        self.taken.gone = gone
        if state.number and not self.taken.vouched_number:
            self.warnings.append("the state file doesn't fit what is there (another program wrote?): all was read")

    # -- the whole ----------------------------------------------------------------------------------------------------

    def _lost_number(self) -> int:
        """The last number known to have been lost: it isn't given out again, so the gap stays visible."""
        return max((loss.number for loss in self.losses), default=0)

    def _look_for_gaps(self) -> None:
        numbers = {segment.number for segment in self.taken.kept if segment.header}
        expected = self.state.first_number if self.state else 1
        for number in [*sorted(numbers), max([self._lost_number(), *numbers]) + 1]:
            self.taken.faults.extend(missing(expected, number))
            expected = max(expected, number + 1)
        self.taken.faults.extend(replaced(self.losses, numbers))

    def _sealable(self, segment: Segment, sealed: Iterable[str]) -> bool:
        if segment.sealed or segment.header is None or segment.name in self.taken.damaged:
            return False
        return segment.name + SEALED_SUFFIX not in sealed

    def _settle(self) -> tuple[bool, State]:
        """Vouch for what was read and made durable, so that the next opening need not; returns (was clean, state)."""
        old, taken = self.state, self.taken
        headed = [segment for segment in taken.kept if segment.header]
        state = State(
            last_lsn=taken.highest_lsn,
            number=0,
            header_crc=0,
            size=0,
            store=self.store,
            clean=False,
            first_number=old.first_number if old else 1,
            losses=self.losses,
        )
        if headed:
            # Of a pair that stays, the plain one: its size tells more.
            last = next(s for s in headed if s.number == headed[-1].number)
            assert last.header is not None
            # What was vouched for isn't lowered: a file cut short stays too short.
            size = max(last.size, known_size(last, taken.sizes))
            state = replace(state, number=last.number, header_crc=last.header.crc, size=size)
            lowest = min(segment.number for segment in headed)
            state = replace(state, first_number=min(lowest, old.first_number) if old else 1)
        # A sealed segment has another size than the plain one that the state speaks of.
        same = (
            old is not None
            and old.number == taken.vouched_number
            and replace(old, clean=False, size=state.size) == state
        )
        if not same and (headed or taken.highest_lsn or self.losses):
            taken.writing = (4096, f"write {STATE_NAME}")
            write_state(self.directory, state)
        return (same and old is not None and old.clean), (old if same and old else state)
