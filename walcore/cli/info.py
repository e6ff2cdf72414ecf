"""`walcore info`: what lies in a directory, by its headers; no record is read."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from walcore.cli import DAMAGE, OK
from walcore.cli.options import as_json, log_directory
from walcore.cli.output import console, count, new_table, size, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from walcore.segments import Segment

WRITER: Final = {True: "has it open", False: "", None: "can't be told: the file lock is another user's"}


@click.command(short_help="Show segments, sizes, store and lock.")
@log_directory
@as_json
def command(wal: Path, as_json: bool) -> int:
    """Show what lies in DIR: its segments in order, store, sizes, and whether a writer has it open.

    Reads the headers only, so it is quick on any log; `walcore verify` reads everything.  Exit status 1 if a
    segment has content but no readable header.

    \b
      walcore info store/wal
      walcore info store/wal --json | jq -r 'select(.what == "segment" and .sealed).name'
    """
    from walcore.segments import list_segments

    segments = list_segments(wal)
    log = _summary(wal, segments, writing=_writing(wal))
    if as_json:
        write_json(log)
        for segment in segments:
            write_json(_row(segment))
    else:
        _show(log, segments)
    return DAMAGE if any(segment.problem not in (None, "empty") for segment in segments) else OK


def _writing(wal: Path) -> bool | None:
    """Whether a writer has the log open; None if that can't be told, the lock being another user's."""
    from walcore.format import LOCK_NAME
    from walcore.lock import is_locked

    lock = wal / LOCK_NAME
    effective = os.access in os.supports_effective_ids
    # Not by opening it: where locks belong to the process, closing the file would drop one of our own.
    if lock.exists() and not os.access(lock, os.R_OK, effective_ids=effective):
        return None
    return is_locked(wal)


def _summary(wal: Path, segments: Sequence[Segment], *, writing: bool | None) -> dict[str, Any]:
    from walcore.cli.indexes import indexed
    from walcore.cli.quarantine import quarantined
    from walcore.segments import Directory
    from walcore.state import find_state

    with Directory(wal) as directory:
        state = find_state(directory)
    headers = [segment.header for segment in segments if segment.header]
    return {
        "what": "log",
        "directory": str(wal),
        "store": next((header.store for header in reversed(headers)), state.store if state else None),
        "segments": len(segments),
        "sealed": sum(segment.sealed for segment in segments),
        "bytes": sum(segment.size for segment in segments),
        "first_segment": headers[0].number if headers else None,
        "last_segment": headers[-1].number if headers else None,
        "writing": writing,
        "closed_cleanly": None if state is None or writing is not False else state.clean,
        "last_lsn_noted": None if state is None else state.last_lsn,
        **indexed(wal, segments, pages=False),
        **quarantined(wal),
    }


def _row(segment: Segment) -> dict[str, Any]:
    header = segment.header
    return {
        "what": "segment",
        "number": header.number if header else None,
        "name": segment.name,
        "sealed": segment.sealed,
        "bytes": segment.size,
        "first_id": header.first_id if header else None,
        "created": header.created if header else None,
        "store": header.store if header else None,
        "problem": segment.problem,
    }


def _show(log: dict[str, Any], segments: Sequence[Segment]) -> None:
    from rich.markup import escape

    from walcore.cli import indexes, quarantine

    screen = console()
    state = {None: "not told", True: "yes", False: "no"}[log["closed_cleanly"]]
    facts = (
        ("store", log["store"] or "none yet"),
        ("segments", f"{count(log['segments'])}, {count(log['sealed'])} of them sealed, {size(log['bytes'])}"),
        ("writer", WRITER[log["writing"]] or f"none; closed cleanly: {state}"),
        (
            "last LSN",
            "not noted" if log["last_lsn_noted"] is None else f"{count(log['last_lsn_noted'])} when last noted",
        ),
        ("indexes", indexes.described(log)),
        ("quarantine", quarantine.described(log)),
    )
    screen.print(f"[bold]{escape(log['directory'])}")
    for name, value in facts:
        screen.print(f"  [dim]{name:<10}[/dim] {escape(value)}")
    if not segments:
        return
    right = ("number", "bytes", "first id")
    table = new_table("", "number", "segment", "state", "bytes", "first id", "created (UTC)", right=right)
    for segment in segments:
        header = segment.header
        state = "sealed" if segment.sealed else "plain"
        table.add_row(
            str(header.number) if header else "-",
            escape(segment.name),
            f"[red]{escape(segment.problem)}" if segment.problem else state,
            count(segment.size),
            str(header.first_id) if header else "-",
            _when(header.created) if header else "-",
        )
    screen.print(table)


def _when(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # the header may hold any number
        return str(seconds)
