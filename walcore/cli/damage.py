"""What a report says about damage, for a person, and the exit status that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walcore.cli import DAMAGE, OK
from walcore.cli.output import count, talk

if TYPE_CHECKING:
    from walcore.frames import Fault
    from walcore.opening import Opening
    from walcore.reader import Report


def around(fault: Fault) -> str:
    """The LSNs on both sides of a fault."""
    sides = (("behind", fault.lsn_before), ("before", fault.lsn_after))
    return " and ".join(f"{side} LSN {lsn}" for side, lsn in sides if lsn)


def show_damage(report: Report) -> int:
    """Names every fault on stderr; DAMAGE if values may be missing, OK if none is, however little was read."""
    from walcore.frames import HARMLESS

    for fault in report.faults:
        lsns = around(fault)
        where = f"{fault.segment} at byte {fault.offset}" if fault.offset else fault.segment
        talk(f"{fault.kind}: {where}{f', {lsns}' if lsns else ''}: {fault.detail}")
    losses = sum(fault.kind not in HARMLESS for fault in report.faults)
    if not losses and not report.cut_short:
        return OK
    talk(f"the log is damaged ({count(losses, 'fault')}): values may be missing")
    return DAMAGE


def show_opening(opening: Opening) -> None:
    """Names on stderr what an opening left out of the log; the damage it left in place is told by reading."""
    for removed in (*opening.cut, *opening.quarantined):
        what = f"{removed.size} bytes from byte {removed.offset} of {removed.segment} on"
        talk(f"left out on opening: {what} ({removed.reason}); they are kept as {removed.copy}")
    for warning in opening.warnings:
        talk(warning)
