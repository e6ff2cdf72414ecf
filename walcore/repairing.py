"""Repair: a damaged log becomes one that opens, reads and is complete again, with all that could be saved.

`repair` looks and says what it would do; `apply` does it.  Nothing is deleted: what leaves its place, and what is
written anew, is in the quarantine, on disk, before.  Each step leaves a log that the next repair goes on with; the
state file, which knows what was there, is the last to change.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from walcore import quarantine
from walcore.config import checked_store_uuid
from walcore.diagnosis import diagnose
from walcore.errors import WalError
from walcore.faults import HARMLESS, Fault
from walcore.files import advised, inherit, told
from walcore.format import PURGE_NAME, TEMPORARY_SUFFIX
from walcore.lock import DirectoryLock, check_unlocked
from walcore.opening import open_directory
from walcore.salvage import Salvage, write_sound
from walcore.segments import Directory
from walcore.state import State, write_state
from walcore.system import calls

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator

    from walcore.findings import Diagnosis, Gap, Place

_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class RepairStep:
    """One thing that repairing does to `segment`: a file name, or such as "segment 3" for one that isn't there.

    `action`: "rewrite" (a file of its sound frames takes its place), "set aside" (it goes to the quarantine), "cut"
    (a tear, as opening does it), "stand in" (a segment without records gets the number of a missing one), "forget" (the
    state file no longer asks for what is lost).  `number` is the segment's, 0 for what has none.
    """

    action: str
    segment: str
    number: int
    detail: str


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What is wrong with a log, what repairing does about it, and what is lost; `dataclasses.asdict` of it is JSON.

    `faults` is what reading in mode SALVAGE reports.  `lost` is ranges of LSNs, first and last, that the damage can
    have taken at most (LSNs that a crash left out are in them); the last of the last range is None where nothing tells
    how far the log went.  `lost_ids` are the ids known to be among them, from headers, summaries, and the records of
    what is set aside.
    """

    directory: str
    store: str
    faults: tuple[Fault, ...]
    steps: tuple[RepairStep, ...]
    lost: tuple[tuple[int, int | None], ...]
    lost_ids: tuple[int, ...]

    @property
    def damaged(self) -> bool:
        """Whether there is damage; what only a crash left is none, and opening the log puts it in order."""
        lost = any(step.action == "forget" or step.segment == PURGE_NAME for step in self.steps)
        return lost or any(fault.kind not in HARMLESS for fault in self.faults)

    def apply(self) -> tuple[str, ...]:
        """Do what the plan says.  Cut off by a crash, the next `repair` goes on.

        Returns:
            The files in the quarantine, relative to the directory, that hold what left the log or was written anew.

        Raises:
            WalLockedError: a writer has the log.
            WalError: the log has changed since the plan was made (nothing was done), or is still damaged.
            WalFullError: the disk is full, at the opening that comes last; what was done so far is durable.
            OSError: reading or writing failed; likewise.
        """
        path = Path(self.directory)
        with advised(), Directory(path) as directory:
            lock = DirectoryLock(path, within=directory.fd)
            lock.acquire()
            try:
                found = diagnose(directory, self.store or None)
                if _plan(path, found) != self:
                    msg = f"{path} has changed since the plan was made; nothing was done: make a new plan"
                    raise WalError(msg)
                return _Repair(directory, found).run() if self.steps else ()
            finally:
                lock.release()

    def __str__(self) -> str:
        lines = [f"{self.directory}: {'damaged' if self.damaged else 'no damage'}"]
        lines += [f"  {fault.kind} in {fault.segment} at byte {fault.offset}: {fault.detail}" for fault in self.faults]
        lines += [f"  {step.action} {step.segment}: {step.detail}" for step in self.steps]
        return "\n".join([*lines, f"  {self.losses()}"])

    def losses(self) -> str:
        """What is lost, in a sentence."""
        if not self.lost and not self.lost_ids:
            return "no record is lost"
        ranges = [_range(first, last) for first, last in self.lost]
        ids = ", ".join(map(str, self.lost_ids[:_SHOWN])) or "none that can be named"
        more = f" and {len(self.lost_ids) - _SHOWN} more" if len(self.lost_ids) > _SHOWN else ""
        return f"lost, at most: {', '.join(ranges) or 'no LSN'}; ids among them: {ids}{more}"


def repair(directory: str | os.PathLike[str], *, store_uuid: str | uuid.UUID | None = None) -> RepairPlan:
    """Read all of a log and plan how to repair it; nothing is changed until the plan's `apply` is called.

    Args:
        directory: the log's folder.
        store_uuid: whose log it is, where no state file and no header, or several, tell.

    Raises:
        WalConfigError: `store_uuid` is no uuid.
        FileNotFoundError: there is no such directory.
        WalLockedError: a writer has the log: close it first.
        StoreMismatchError: it is another store's log, or nothing tells whose.
        WalError: something has to be done by hand first; the message says what.
        OSError: reading failed.
    """
    path, asked = Path(directory).absolute(), checked_store_uuid(store_uuid)
    with advised(), Directory(path) as opened:
        check_unlocked(path)
        return _plan(path, diagnose(opened, asked))


def _plan(path: Path, found: Diagnosis) -> RepairPlan:
    steps = tuple(_steps(found))
    return RepairPlan(
        str(path), found.store, tuple(found.faults), steps, tuple(found.lost), tuple(sorted(found.lost_ids))
    )


def _steps(found: Diagnosis) -> Iterator[RepairStep]:
    if found.marker_damaged:
        yield RepairStep("set aside", PURGE_NAME, 0, "it can't be read; the segments that are left stay")
    for one, why in found.aside:
        yield RepairStep("set aside", one.name, one.segment.number, why)
    for place in found.places:
        one = place.sources[0]
        if place.why:
            count = sum(last - first + 1 for first, last in place.lsns)
            detail = f"{place.why}; {count} records of LSN {place.lsns.first} to {place.lsns.last} stay"
            yield RepairStep("rewrite", one.name, place.number, detail if count else f"{place.why}; no record is left")
        elif one.tear:
            yield RepairStep("cut", one.name, place.number, f"from byte {one.faults[0].offset} on, a tear")
    for gap in found.gaps:
        yield RepairStep("stand in", f"segment {gap.number}", gap.number, "a segment without records takes its number")
    for loss in found.losses:
        what = "its end" if loss.short else "all of it"
        yield RepairStep("forget", f"segment {loss.number}", loss.number, f"{what} was on disk and is gone")


def _range(first: int, last: int | None) -> str:
    if last is None:
        return f"LSN {first} and all above it"
    return f"LSN {first}" if first == last else f"LSN {first} to {last}"


class _Repair:
    """Carries out the steps, in an order in which a crash between any two of them does no harm."""

    def __init__(self, directory: Directory, found: Diagnosis) -> None:
        self.directory = directory
        self.found = found
        self.copies: list[str] = []

    def run(self) -> tuple[str, ...]:
        self.directory.sync_parent()
        sources = {id(source) for place in self.found.places for source in place.sources}
        # First what may have the name that a rewritten segment takes, last what a rewritten segment is made of.
        for one, _ in self.found.aside:
            if id(one) not in sources:
                self._set_aside(one)
        if self.found.marker_damaged:
            self._set_marker_aside()
        for place in self.found.places:
            if place.why:
                self._rewrite(place)
        for one, _ in self.found.aside:
            if id(one) in sources:
                self._set_aside(one)
        for gap in self.found.gaps:
            self._stand_in(gap)
        self._forget()
        opening = open_directory(self.directory, self.found.store or None)
        if opening.faults:
            left = opening.faults[0]
            what = f"{left.kind} in {left.segment} at byte {left.offset} ({left.detail})"
            msg = f"{self.directory.path} is still damaged, repair it again: {what}"
            raise WalError(msg)
        return tuple(dict.fromkeys(self.copies + [one.copy for one in opening.cut + opening.quarantined if one.copy]))

    def _keep(self, one: Salvage) -> None:
        self.copies.append(quarantine.keep(self.directory, one.name, 0, one.segment.size, one.highest_lsn))

    def _set_aside(self, one: Salvage) -> None:
        self._keep(one)
        self.directory.delete(one.segment)

    def _set_marker_aside(self) -> None:
        size = calls.stat(PURGE_NAME, dir_fd=self.directory.fd, follow_symlinks=False).st_size
        self.copies.append(quarantine.keep(self.directory, PURGE_NAME, 0, size, 0))
        self.directory.drop(PURGE_NAME)
        self.directory.sync()

    def _rewrite(self, place: Place) -> None:
        """Put a plain file of the sound frames in place of a segment; sealed it becomes by the next opening."""
        one = place.sources[0]
        self._keep(one)
        temporary = one.plain_name + TEMPORARY_SUFFIX
        target = self.directory.create(temporary)
        try:
            with told("write", self.directory.path / temporary):
                with self.directory.opened(one.name) as source:
                    inherit(source, target)
                assert place.header is not None
                write_sound(target, place.header, place.sources)
            self.directory.sync_data(target, temporary)
        finally:
            calls.close(target)
        if one.name == one.plain_name:
            self.directory.replace(temporary, one.name)
            return
        try:
            self.directory.publish(temporary, one.plain_name)
        except FileExistsError:
            self.directory.publish_free(temporary, max(one.first_id, 0))
        self.directory.sync()
        self.directory.delete(one.segment)

    def _stand_in(self, gap: Gap) -> None:
        made = self.directory.create_segment(gap.number, gap.first_id, self.found.store, gap.created)
        calls.close(made.fd)

    def _forget(self) -> None:
        """Leave a state that vouches for nothing: the opening that follows reads all, and vouches for that."""
        found = self.found
        if not found.store:  # nothing was ever known here: the log is whose opens it first
            return
        first = min([found.first, *(place.number for place in found.places)])
        lsn = found.highest_lsn
        state = State(last_lsn=lsn, number=0, header_crc=0, size=0, store=found.store, clean=False, first_number=first)
        write_state(self.directory, state)
