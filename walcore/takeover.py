"""What becomes of each segment when a log is opened: taken over as it is, without its tear, or moved away.

Every step can be cut off and done again.  Nothing is deleted but a plain segment whose sealed twin holds the same
bytes; all else that has to leave its place is in the quarantine, on disk, before it does.  What is taken over is made
durable before anything new is acknowledged: a process that was killed may have left pages that never reached the disk,
and after a failed sync what the cache shows is not what is there.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from walcore import quarantine
from walcore.faults import Fault, FaultKind
from walcore.files import told
from walcore.format import QUARANTINE_NAME, SEALED_SUFFIX, STATE_NAME, TEMPORARY_SUFFIX
from walcore.frames import SegmentCheck, check_segment
from walcore.plan import cut_off, known_size
from walcore.segments import COPY_BYTES
from walcore.system import pieces, read_at

if TYPE_CHECKING:
    from walcore.segments import Directory, Segment


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


@dataclass(slots=True)
class Takeover:
    """Takes segments over, one number after another, and notes what it did.

    `vouched_number`: up to this segment all was on disk, as a state file that fits says; `sizes` is what states knew of
    plain segments (plan.known_sizes).  `highest_lsn` is the greatest that was given out, as far as was seen; `kept` are
    those that are the log's now, `damaged` the names of those among them with faults.
    """

    directory: Directory
    vouched_number: int = 0
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    gone: bool = False
    """A segment that was on disk isn't there under its number; without a readable header it may be."""
    highest_lsn: int = 0
    scanned: list[str] = field(default_factory=list)
    cut: list[Removed] = field(default_factory=list)
    quarantined: list[Removed] = field(default_factory=list)
    deleted: list[Removed] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    kept: list[Segment] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    writing: tuple[int, str] = (4096, f"write {STATE_NAME}")
    """How many bytes are being written, and what for."""

    def take_all(self, segments: list[Segment]) -> None:
        """Take over what can be of the log's segments; the caller syncs the directory."""
        for group in _groups(segments):
            self._take_group(group)
        self.kept.sort(key=lambda segment: (segment.number, segment.sealed, segment.name))

    def saw_lsn(self, lsn: int) -> None:
        """This one was given out."""
        self.highest_lsn = max(self.highest_lsn, lsn)

    def _take_group(self, group: list[Segment]) -> None:
        pair = sorted((s for s in group if not s.irregular), key=lambda s: s.sealed)
        if len(pair) == 2 and [s.sealed for s in pair] == [False, True]:
            self._take_pair(*pair)
            group = [s for s in group if s.irregular]
        for segment in group:
            self._take(segment)

    def _take_pair(self, plain: Segment, sealed: Segment) -> None:
        """A plain and a sealed segment of one number: the sound one counts, the plain one if they differ."""
        checks = [self.check(plain), self.check(sealed)]
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
            self._take_headless(segment, self.check(segment))
        elif segment.number <= self.vouched_number and not cut_off(segment, self.sizes):
            self.kept.append(segment)
        else:
            self._keep(segment, self.check(segment))

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

    def check(self, segment: Segment) -> SegmentCheck:
        """Read it in full; its LSNs were given out, whatever becomes of it."""
        on_disk = 0 < segment.number <= self.vouched_number
        vouched = segment.size if on_disk else known_size(segment, self.sizes)
        check = check_segment(segment, vouched, folder=self.directory)
        self.scanned.append(segment.name)
        self.saw_lsn(check.max_lsn)
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
                copy = quarantine.keep(self.directory, segment.name, end, segment.size, check.max_lsn)
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
        copy = quarantine.keep(self.directory, segment.name, 0, segment.size, check.max_lsn)
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
