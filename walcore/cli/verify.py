"""`walcore verify`: every byte of a log is read and checked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from walcore.cli import DAMAGE, OK
from walcore.cli.damage import around, fault_row
from walcore.cli.options import KIND_NAMES, as_json, by_kind, log_directory
from walcore.cli.output import console, count, new_table, progress, rate, size, talk, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from walcore.reader import Report


@click.command(short_help="Check every byte; name all damage.")
@log_directory
@as_json
def command(wal: Path, as_json: bool) -> int:
    """Read all of the log in DIR, check it, and name all damage with the LSNs around it.

    Works while a writer has the log open, in constant memory, and changes nothing.  Exit status 1 if a record
    that was on disk may be missing; a torn tail, which a crash leaves, is told but is no damage.

    \b
      walcore verify store/wal
      walcore verify store/wal --json | jq 'select(.what == "fault")'
    """
    from walcore.cli.indexes import indexed
    from walcore.cli.quarantine import quarantined
    from walcore.reader import ReadMode, read
    from walcore.segments import list_segments

    segments = list_segments(wal)
    kinds = dict.fromkeys(KIND_NAMES, 0)
    reader = read(wal, mode=ReadMode.SALVAGE)
    start = time.perf_counter()
    with progress() as bar:
        task = bar.add_task("reading segments", total=len(segments))
        for kinds in reader.counts():  # noqa: B007 - the last is that of all
            bar.update(task, completed=reader.report.segments - 1)
    seconds = time.perf_counter() - start
    facts = {
        "what": "log",
        "directory": str(wal),
        "complete": reader.report.complete,
        "segments": reader.report.segments,
        "bytes": sum(segment.size for segment in segments),
        "records": reader.report.records,
        "first_lsn": reader.report.first_lsn,
        "last_lsn": reader.report.last_lsn,
        "faults_left_out": reader.report.faults_left_out,
        **by_kind(kinds),
        **indexed(wal, segments, pages=True),
        **quarantined(wal),
        "seconds": round(seconds, 6),
    }
    if as_json:
        _write(facts, reader.report)
    else:
        _show(facts, kinds, reader.report)
    return OK if reader.report.complete else DAMAGE


def _write(facts: dict[str, Any], report: Report) -> None:
    write_json(facts)
    for fault in report.faults:
        write_json(fault_row(fault))


def _show(facts: dict[str, Any], kinds: dict[str, int], report: Report) -> None:
    from rich.markup import escape

    from walcore.cli import indexes, quarantine

    screen = console()
    verdict = "[bold green]complete[/]" if facts["complete"] else "[bold red]DAMAGED: values may be missing[/]"
    screen.print(f"[bold]{escape(facts['directory'])}[/]  {verdict}")
    lsns = f"LSN {count(facts['first_lsn'])} to {count(facts['last_lsn'])}" if facts["records"] else "no record"
    table = new_table("", "what", "how much", "more", right=("how much",))
    table.show_header = False
    table.add_row("segments", count(facts["segments"]), f"{size(facts['bytes'])} on disk")
    table.add_row("records", count(facts["records"]), f"{lsns}, read at {rate(facts['records'], facts['seconds'])}")
    for kind, name in KIND_NAMES.items():
        table.add_row(f"  {name}", count(kinds[kind]))
    if facts["index_bytes"]:
        table.add_row("indexes", "", indexes.described(facts))
    if facts["quarantine_files"] != 0:
        table.add_row(
            "quarantine", "", f"{quarantine.described(facts)}; left out of the log when it was opened, not read here"
        )
    screen.print(table)
    if not report.faults:
        return
    faults = new_table("", "fault", "segment", "byte", "where", "detail", right=("byte",))
    for fault in report.faults:
        row = (str(fault.kind), fault.segment, count(fault.offset), around(fault), fault.detail)
        faults.add_row(*map(escape, row))
    screen.print(faults)
    if report.faults_left_out:
        screen.print(f"and {count(report.faults_left_out, 'fault')} more")
    if not report.complete:
        talk(f"walcore repair {facts['directory']} tells what can be saved, and changes nothing")
