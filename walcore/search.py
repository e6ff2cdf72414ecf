"""Search: the newest record of one id, whatever the order of the ids in the log."""

from __future__ import annotations

import operator
import os
import warnings
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from walcore.errors import InvalidRecordError, WalDamageWarning
from walcore.format import MAX_INT32, MIN_INT32
from walcore.frames import HARMLESS, Fault, FrameReader
from walcore.plan import choose, open_listed, plan, sequence
from walcore.segments import Directory
from walcore.system import calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walcore._core.decode import Record


def find(directory: str | os.PathLike[str], id: int) -> Record | None:
    """The newest record of `id` in the log in `directory`, None if it holds none.

    Segments are read from the newest to the oldest, each to its first fault, up to the first that has the id; records
    of other ids are checked but not made.  Damage met on the way, behind which a newer one may lie, gives one
    WalDamageWarning.

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


def _candidates(directory: Directory, wanted: int, faults: list[Fault]) -> Iterator[Record]:
    """The newest record of each segment that has one, newest segment first; `faults` gets what can hide a newer one."""
    found = plan(directory)
    faults += (fault for fault in found.faults if fault.kind not in HARMLESS)
    for files in reversed(list(sequence(directory, found))):
        if isinstance(files, Fault):
            faults.append(files)
            continue
        segment, others = choose(directory, files, found)
        faults += (fault for fault in others if fault.kind not in HARMLESS)
        opened = open_listed(directory, segment)
        if isinstance(opened, Fault):
            faults.append(opened)
            continue
        fd, segment = opened
        try:
            frames = FrameReader(segment, fd, segment.size, wanted=wanted)
            newest: Record | None = None
            for record in chain.from_iterable(frames.batches()):
                # RDF4J writes some LSNs out of order: the place in the file doesn't tell.
                if newest is None or record.lsn >= newest.lsn:
                    newest = record
        finally:
            calls.close(fd)
        if (short := found.cut_off(segment)) is not None:
            faults.append(short)
        elif frames.fault is not None and frames.fault.kind not in HARMLESS:
            faults.append(frames.fault)
        if newest is not None:
            yield newest
