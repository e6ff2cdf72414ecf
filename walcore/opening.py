"""What opening does to a directory that a crash, or RDF4J, left behind.

Every step can be cut off and done again.  Nothing is deleted but temporary files, what a purge had begun to delete, and
a plain segment whose sealed twin holds the same bytes; all else that has to leave its place is in the quarantine, on
disk, before it does.  What is taken over is made durable before anything new is acknowledged: a process that was killed
may have left pages that never reached the disk, and after a failed sync what the cache shows is not what is there.
"""

from __future__ import annotations

import errno
import logging
import re
import uuid
import zlib
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from walcore.errors import StoreMismatchError, WalError, WalFullError
from walcore.faults import Fault, FaultKind
from walcore.files import told
from walcore.format import (
    INDEX_SUFFIX,
    LOCK_NAME,
    MAX_LSN,
    QUARANTINE_NAME,
    SEALED_SUFFIX,
    STATE_NAME,
    TEMPORARY_SUFFIX,
    is_index_name,
    is_segment_name,
)  # fmt: skip
from walcore.frames import SegmentCheck, check_segment
from walcore.index import MIN_SEALED_BYTES
from walcore.plan import (
    cut_off,
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
from walcore.segments import COPY_BYTES, Directory, Segment
from walcore.state import State, read_state, write_state
from walcore.system import pieces, read_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from walcore.segments import PurgeMarker
    from walcore.state import Loss

log = logging.getLogger("walcore")

_QUARANTINED: Final = re.compile(r".*\.lsn([0-9]+)(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Removed:
    """Bytes from `offset` on of `segment` that were left out of the log: a tear, or a whole file.

    `copy` is where they are now, relative to the directory; None when they were in a second file of the same content,
    or all zeros.
    `lsn_before` is the last LSN that stays of that segment, `lsn_highest` the highest among what was left out or before
    it; 0 if there is none.
    """

    segment: str
    offset: int
    size: int
    reason: str
    copy: str | None
    lsn_before: int = 0
    lsn_highest: int = 0


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
    repair = _Opener(directory, store, state)
    try:
        opening = repair.run(segments, purge_finished=marker is not None)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        size, what = repair.writing
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
    vouched_number: int = 0
    highest_lsn: int = 0
    scanned: list[str] = field(default_factory=list)
    cut: list[Removed] = field(default_factory=list)
    quarantined: list[Removed] = field(default_factory=list)
    deleted: list[Removed] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    kept: list[Segment] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    foreign: list[Segment] = field(default_factory=list)
    losses: tuple[Loss, ...] = ()
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    gone: bool = False
    """A segment that was on disk isn't there under its number; without a readable header it may be."""
    writing: tuple[int, str] = (4096, f"write {STATE_NAME}")
    """How many bytes are being written, and what for."""

    def run(self, segments: list[Segment], *, purge_finished: bool) -> Opening:
        self._remove_temporaries()
        own = [segment for segment in segments if self._is_own(segment)]
        self._believe_state(own)
        self._scan_quarantine()
        for group in _groups(own):
            self._take_group(group)
        self._remove_orphans()
        self.directory.sync()
        self.kept.sort(key=lambda segment: (segment.number, segment.sealed, segment.name))
        self._look_for_gaps()
        if self.highest_lsn >= MAX_LSN:
            msg = f"{self.directory.path}: LSN {self.highest_lsn} was given out, there is none above it"
            raise WalError(msg)
        clean, state = self._settle()
        taken = {segment.name for segment in self.kept if segment.sealed}
        return Opening(
            store_uuid=self.store,
            next_lsn=self.highest_lsn + 1,
            next_number=max([self._lost_number(), *(s.number for s in self.kept + self.foreign)]) + 1,
            has_segments=bool(self.kept or self.foreign),
            clean=clean,
            state=state,
            purge_finished=purge_finished,
            scanned=tuple(self.scanned),
            cut=tuple(self.cut),
            quarantined=tuple(self.quarantined),
            deleted=tuple(self.deleted),
            faults=tuple(self.faults),
            warnings=tuple(self.warnings),
            to_seal=tuple(s for s in self.kept if self._sealable(s, taken)),
            to_index=tuple(s for s in self.kept if s.sealed and s.header and s.size >= MIN_SEALED_BYTES),
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
        small = {segment.name for segment in self.kept if segment.sealed and segment.size < MIN_SEALED_BYTES}
        for name in sorted(filter(is_index_name, names)):
            if name.removesuffix(INDEX_SUFFIX) in small or name.removesuffix(INDEX_SUFFIX) not in names:
                with suppress(OSError):  # nobody needs it, and a folder in its place stays
                    self.directory.drop(name)

    def _is_own(self, segment: Segment) -> bool:
        """False for another store's: it stays as it is, but its number and LSNs aren't given out again."""
        fault = foreign(segment, self.store)
        if fault is not None:
            self.foreign.append(segment)
            self._check(segment)
            self.faults.append(fault)
        return fault is None

    def _believe_state(self, segments: list[Segment]) -> None:
        state = self.state
        if state is None:
            return
        # Even one that doesn't fit knows of LSNs given out.
        self._saw_lsn(state.last_lsn)
        if any(vouches(state, segment) for segment in segments):
            self.vouched_number = state.number
        self.losses = find_losses(state, segments)
        self.sizes = known_sizes(state)
        there = {segment.number for segment in segments if state.first_number <= segment.number <= state.number}
        self.gone = len(there) <= state.number - state.first_number or any(not loss.short for loss in self.losses)
        if state.number and not self.vouched_number:
            self.warnings.append("the state file doesn't fit what is there (another program wrote?): all was read")

    def _scan_quarantine(self) -> None:
        """LSNs that can be found in the quarantine aren't given out again."""
        if not self.directory.has(QUARANTINE_NAME):
            return
        with Directory(self.directory.path / QUARANTINE_NAME, within=self.directory.fd) as folder:
            folder.remove_temporaries()
            for name in folder.names():
                if match := _QUARANTINED.fullmatch(name):
                    self._saw_lsn(int(match[1]))
                elif (segment := folder.segment(name)) and not segment.irregular:
                    self._saw_lsn(check_segment(segment, folder=folder).max_lsn)

    def _saw_lsn(self, lsn: int) -> None:
        self.highest_lsn = max(self.highest_lsn, lsn)

    # -- segments -----------------------------------------------------------------------------------------------------

    def _take_group(self, group: list[Segment]) -> None:
        pair = sorted((s for s in group if not s.irregular), key=lambda s: s.sealed)
        if len(pair) == 2 and [s.sealed for s in pair] == [False, True]:
            self._take_pair(*pair)
            group = [s for s in group if s.irregular]
        for segment in group:
            self._take(segment)

    def _take_pair(self, plain: Segment, sealed: Segment) -> None:
        """A plain and a sealed segment of one number: the sound one counts, the plain one if they differ."""
        checks = [self._check(plain), self._check(sealed)]
        sound = [
            s.header is not None and not check.faults and not cut_off(s, self.sizes)
            for s, check in zip((plain, sealed), checks, strict=True)
        ]
        if all(sound) and self._same_content(plain, sealed):
            self._make_durable(sealed)
            self.directory.sync()
            self.directory.delete(plain)
            what = f"the same as {sealed.name}"
            self.deleted.append(Removed(plain.name, 0, plain.size, what, None, 0, checks[0].max_lsn))
            self.kept.append(sealed)
        elif sound[0]:
            self._quarantine(
                sealed, checks[1], f"{plain.name} counts" if sound[1] else f"damaged, {plain.name} is sound"
            )
            self._keep(plain, checks[0])
        elif sound[1]:
            self._quarantine(plain, checks[0], f"damaged, {sealed.name} is sound")
            self._keep(sealed, checks[1])
        else:
            for segment, check in zip((plain, sealed), checks, strict=True):
                if segment.header is None:
                    self._take_headless(segment, check)
                else:
                    self._keep(segment, check, as_it_is=True)

    def _take(self, segment: Segment) -> None:
        if segment.irregular:
            self._report(segment, segment.problem or "")
        elif segment.header is None:
            self._take_headless(segment, self._check(segment))
        elif segment.number <= self.vouched_number and not cut_off(segment, self.sizes):
            self.kept.append(segment)
        else:
            self._keep(segment, self._check(segment))

    def _take_headless(self, segment: Segment, check: SegmentCheck) -> None:
        perhaps = "; perhaps a segment that was on disk and is missing" if self.gone else ""
        if segment.problem == "empty":
            self._quarantine(segment, check, "empty" + perhaps)
        elif self.gone and check.max_lsn:
            self.damaged.add(segment.name)
            self.kept.append(segment)
            self._report(segment, (segment.problem or "") + perhaps)
        elif check.tear or (segment.sealed and (segment.problem == "torn header" or self._begins_with_zeros(segment))):
            self._quarantine(segment, check, "its header is torn" + perhaps)
        else:
            self.damaged.add(segment.name)
            self.kept.append(segment)
            self._report(segment, segment.problem or "")

    def _check(self, segment: Segment) -> SegmentCheck:
        on_disk = 0 < segment.number <= self.vouched_number
        vouched = segment.size if on_disk else known_size(segment, self.sizes)
        check = check_segment(segment, vouched, folder=self.directory)
        self.scanned.append(segment.name)
        self._saw_lsn(check.max_lsn)
        return check

    def _keep(self, segment: Segment, check: SegmentCheck, *, as_it_is: bool = False) -> None:
        """Take a segment over: durable, without its tear, with its corruption."""
        short = cut_off(segment, self.sizes)
        faults = check.faults or ((replace(short, lsn_before=check.last_lsn or None),) if short else ())
        if segment.sealed or as_it_is or short:
            self._make_durable(segment)
        elif segment.number > self.vouched_number:
            segment = self._copy(segment, check)
            faults = () if check.tear else faults
        if faults:
            self.damaged.add(segment.name)
            self.faults.extend(faults)
        self.kept.append(segment)

    def _copy(self, segment: Segment, check: SegmentCheck) -> Segment:
        end = check.end if check.tear else segment.size
        self.writing = (segment.size + (segment.size - end), f"copy {segment.name}")
        if check.tear:
            reason, copy = check.faults[0].detail, None
            if self._is_zeros(segment, end):  # allocated ahead, or a size that reached the disk without the data
                reason = "nothing but zeros"
            else:
                copy = self.directory.quarantine(segment.name, end, segment.size, check.max_lsn)
            self.cut.append(Removed(segment.name, end, segment.size - end, reason, copy, check.last_lsn, check.max_lsn))
        temporary = segment.name + TEMPORARY_SUFFIX
        inode = self.directory.copy(segment.name, self.directory, temporary, 0, end)
        self.directory.replace(temporary, segment.name)
        return replace(segment, size=end, inode=inode)

    def _make_durable(self, segment: Segment) -> None:
        with self.directory.opened(segment.name) as fd:
            self.directory.sync_data(fd, segment.name)

    def _quarantine(self, segment: Segment, check: SegmentCheck, reason: str) -> None:
        self.writing = (segment.size, f"copy {segment.name} to {QUARANTINE_NAME}/")
        copy = self.directory.quarantine(segment.name, 0, segment.size, check.max_lsn)
        self.directory.delete(segment)
        self.quarantined.append(Removed(segment.name, 0, segment.size, reason, copy, 0, check.max_lsn))

    def _report(self, segment: Segment, detail: str) -> None:
        self.faults.append(Fault(FaultKind.UNREADABLE_SEGMENT, segment.name, 0, detail))

    def _begins_with_zeros(self, segment: Segment) -> bool:
        with self.directory.opened(segment.name) as fd, told("read", segment.path):
            return read_at(fd, 8, 0) == bytes(8)

    def _is_zeros(self, segment: Segment, start: int) -> bool:
        with self.directory.opened(segment.name) as fd, told("read", segment.path):
            return not any(read_at(fd, COPY_BYTES, at).strip(b"\0") for at in range(start, segment.size, COPY_BYTES))

    def _same_content(self, plain: Segment, sealed: Segment) -> bool:
        """Whether a sound sealed segment holds all bytes of the plain one, and behind them nothing but its summary."""
        inflate, at, same = zlib.decompressobj(wbits=31), 0, True
        with (
            told("read", plain.path),
            self.directory.opened(plain.name) as left,
            self.directory.opened(sealed.name) as right,
        ):
            chunks = pieces(right, COPY_BYTES)
            chunk: bytes | memoryview = b""
            while same and at < plain.size and (chunk or (chunk := next(chunks, b""))):
                piece = inflate.decompress(chunk, min(COPY_BYTES, plain.size - at))
                chunk = inflate.unconsumed_tail
                same, at = read_at(left, len(piece), at) == piece, at + len(piece)
                if inflate.eof:
                    break
            rest = inflate.decompress(bytes(chunk) + next(chunks, b""), COPY_BYTES) if same and not inflate.eof else b""
        return same and at == plain.size and len(rest) == int.from_bytes(rest[:4], "little") + 8 and b'"S"' in rest

    # -- the whole ----------------------------------------------------------------------------------------------------

    def _lost_number(self) -> int:
        """The last number known to have been lost: it isn't given out again, so the gap stays visible."""
        return max((loss.number for loss in self.losses), default=0)

    def _look_for_gaps(self) -> None:
        numbers = {segment.number for segment in self.kept if segment.header}
        expected = self.state.first_number if self.state else 1
        for number in [*sorted(numbers), max([self._lost_number(), *numbers]) + 1]:
            self.faults.extend(missing(expected, number))
            expected = max(expected, number + 1)
        self.faults.extend(replaced(self.losses, numbers))

    def _sealable(self, segment: Segment, taken: Iterable[str]) -> bool:
        if segment.sealed or segment.header is None or segment.name in self.damaged:
            return False
        return segment.name + SEALED_SUFFIX not in taken

    def _settle(self) -> tuple[bool, State]:
        """Vouch for what was read and made durable, so that the next opening need not; returns (was clean, state)."""
        old = self.state
        headed = [segment for segment in self.kept if segment.header]
        state = State(
            last_lsn=self.highest_lsn,
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
            size = max(last.size, known_size(last, self.sizes))
            state = replace(state, number=last.number, header_crc=last.header.crc, size=size)
            lowest = min(segment.number for segment in headed)
            state = replace(state, first_number=min(lowest, old.first_number) if old else 1)
        # A sealed segment has another size than the plain one that the state speaks of.
        same = (
            old is not None
            and old.number == self.vouched_number
            and replace(old, clean=False, size=state.size) == state
        )
        if not same and (headed or self.highest_lsn or self.losses):
            self.writing = (4096, f"write {STATE_NAME}")
            write_state(self.directory, state)
        return (same and old is not None and old.clean), (old if same and old else state)


def _groups(segments: list[Segment]) -> list[list[Segment]]:
    """Segments of one number together, and with them a file without a header that has the same plain name."""
    by_key: defaultdict[int | str, list[Segment]] = defaultdict(list)
    numbers: dict[str, int] = {}
    for segment in segments:
        if segment.header:
            numbers[segment.name.removesuffix(SEALED_SUFFIX)] = segment.number
    for segment in segments:
        plain_name = segment.name.removesuffix(SEALED_SUFFIX)
        by_key[segment.number or numbers.get(plain_name) or plain_name].append(segment)
    return list(by_key.values())
