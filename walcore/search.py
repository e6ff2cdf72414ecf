"""Search: the newest record of one id, whatever the order of the ids in the log."""

from __future__ import annotations

import operator
import os
import warnings
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from walcore.errors import InvalidRecordError, WalDamageWarning
from walcore.faults import HARMLESS, Fault, FaultKind
from walcore.format import MAX_INT32, MIN_INT32, SEALED_SUFFIX
from walcore.frames import FrameReader
from walcore.index import Block, Place, look_up, read_block
from walcore.plan import choose, open_listed, plan, sequence
from walcore.segments import Directory, Segment
from walcore.sources import BytesSource
from walcore.system import calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from walcore._core.record import Record


def find(directory: str | os.PathLike[str], id: int) -> Record | None:
    """The newest record of `id` in the log in `directory`, None if it holds none.

    Segments are gone through from the newest to the oldest, up to the first that has the id.  Of a sealed one with an
    index that fits only what has the id is read, and checked; any other is read to its first fault.  Damage met on the
    way, behind which a newer one may lie, gives one WalDamageWarning.

    Raises:
        FileNotFoundError: there is no such directory.
        InvalidRecordError: `id` is outside 32 bits.
        OSError: reading fails.
    """
    if not hasattr(id, "__index__"):
        msg = f"id must be an int, not {type(id).__name__}"
        raise TypeError(msg)
    path, wanted = Path(directory), operator.index(id)
    if not MIN_INT32 <= wanted <= MAX_INT32:
        msg = f"id must be from {MIN_INT32} to {MAX_INT32}, got {hex(wanted)[:40]}"
        raise InvalidRecordError(msg, field="id")
    faults: list[Fault] = []
    with Directory(path) as opened:
        record = next(_candidates(opened, wanted, faults), None)
    if faults:
        msg = (
            f"{path} is not complete, a newer record of id {wanted} may be missing: {faults[0].kind} in "
            f"{faults[0].segment} at byte {faults[0].offset} ({faults[0].detail})"
        )
        warnings.warn(msg, WalDamageWarning, stacklevel=2)
    return record


class _Lookout:
    """What `plan` asks for a segment: by its index, of which it keeps where the id can be, else by its header."""

    def __init__(self, directory: Directory, wanted: int) -> None:
        self.directory = directory
        self.wanted = wanted
        self._places: dict[str, Place] = {}

    def __call__(self, name: str) -> Segment | None:
        place = look_up(self.directory, name, self.wanted) if name.endswith(SEALED_SUFFIX) else None
        if place is None:
            self._places.pop(name, None)
            return self.directory.segment(name, forbidden=True)
        self._places[name] = place
        return place.segment

    def blocks(self, segment: Segment) -> tuple[Block, ...] | None:
        """The blocks in which the id can be, if its index told of this very segment; None: it must be scanned."""
        place = self._places.get(segment.name)
        return place.blocks if place is not None and place.segment is segment else None


def _candidates(directory: Directory, wanted: int, faults: list[Fault]) -> Iterator[Record]:
    """The newest record of each segment that has one, newest segment first; `faults` gets what can hide a newer one."""
    lookout = _Lookout(directory, wanted)
    found = plan(directory, lookout)
    faults += (fault for fault in found.faults if fault.kind not in HARMLESS)
    for files in reversed(list(sequence(directory, found))):
        if isinstance(files, Fault):
            faults.append(files)
            continue
        segment, others = choose(directory, files, found)
        faults += (fault for fault in others if fault.kind not in HARMLESS)
        if lookout.blocks(segment) == ():
            continue
        opened = open_listed(directory, segment)
        if isinstance(opened, Fault):
            faults.append(opened)
            continue
        fd, segment = opened
        try:
            blocks = lookout.blocks(segment)
            newest, fault = (None, None) if blocks is None else _in_blocks(segment, fd, blocks, wanted)
            if blocks is None or fault is not None:
                newest, fault = _newest(FrameReader(segment, fd, segment.size, wanted=wanted))
        finally:
            calls.close(fd)
        if (short := found.cut_off(segment)) is not None:
            faults.append(short)
        elif fault is not None and fault.kind not in HARMLESS:
            faults.append(fault)
        if newest is not None:
            yield newest


def _newest(frames: FrameReader, before: Record | None = None) -> tuple[Record | None, Fault | None]:
    """Of `before` and all that `frames` yields up to a fault the newest, and the fault."""
    newest = before
    for record in chain.from_iterable(frames.batches()):
        # RDF4J writes some LSNs out of order: the place in the file doesn't tell.
        if newest is None or record.lsn >= newest.lsn:
            newest = record
    return newest, frames.fault


def _in_blocks(segment: Segment, fd: int, blocks: Iterable[Block], wanted: int) -> tuple[Record | None, Fault | None]:
    """`_newest` of some blocks of a sealed segment; a fault says no more than that all has to be read."""
    newest: Record | None = None
    for block in blocks:
        plain = read_block(fd, block)
        if plain is None:
            return None, Fault(FaultKind.CORRUPT_FRAME, segment.name, 0, "the index leads nowhere")
        frames = FrameReader(replace(segment, sealed=False), fd, len(plain), wanted=wanted, source=BytesSource(plain))
        newest, fault = _newest(frames, newest)
        if fault is not None:
            return None, fault
    return newest, None
