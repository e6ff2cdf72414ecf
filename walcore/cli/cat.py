"""`walcore cat`: the records of a log, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from walcore.cli.options import KINDS, as_json, kinds, log_directory, mode
from walcore.cli.output import write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from walcore.record import Record


@click.command(short_help="Print the records, oldest first.")
@log_directory
@kinds
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Stop after N records.")
@click.option("--from-lsn", type=click.IntRange(min=1), metavar="LSN", help="Only records from this LSN on.")
@click.option("--to-lsn", type=click.IntRange(min=1), metavar="LSN", help="Only records up to this LSN.")
@mode
@as_json
def command(
    wal: Path,
    kinds: tuple[str, ...],
    limit: int | None,
    from_lsn: int | None,
    to_lsn: int | None,
    mode: str,
    as_json: bool,
) -> int:
    """Print the records of the log in DIR, oldest first: LSN, id, kind, value.

    Works while a writer has the log open, and in constant memory.  Exit status 1 if damage was met.

    \b
      walcore cat store/wal --kind literal --limit 20
      walcore cat store/wal --json | jq 'select(.language == "de")'
      walcore cat old/wal --json | walcore load - --wal new/wal
    """
    import itertools

    from walcore.cli.damage import show_damage
    from walcore.cli.ndjson import to_json, to_text
    from walcore.reader import ReadMode, read

    reader = read(wal, mode=ReadMode(mode.upper()))
    records = itertools.islice(_chosen(reader, frozenset(KINDS[kind] for kind in kinds), from_lsn, to_lsn), limit)
    write_lines(map(to_json if as_json else to_text, records))
    return show_damage(reader.report)


def _chosen(
    records: Iterable[Record], kinds: frozenset[str], from_lsn: int | None, to_lsn: int | None
) -> Iterator[Record]:
    low, high = from_lsn or 0, to_lsn or float("inf")
    return (record for record in records if low <= record.lsn <= high and (not kinds or record.kind in kinds))
