"""`walcore purge`: everything goes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from walcore.cli import FAILURE, OK
from walcore.cli.damage import show_opening
from walcore.cli.options import log_directory
from walcore.cli.output import count, size, talk

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Delete all segments; LSNs go on.")
@log_directory
@click.option("--yes", is_flag=True, help="Don't ask.")
def command(wal: Path, yes: bool) -> int:
    """Delete every segment of the log in DIR, for a store that has been cleared.  LSNs go on where they were.

    \b
      walcore purge store/wal
      walcore purge store/wal --yes
    """
    import walcore
    from walcore.segments import list_segments

    with walcore.open(wal, create=False) as log:  # taken first: what is asked about can't change any more
        show_opening(log.opening)
        segments = list_segments(wal)
        what = f"{count(len(segments), 'segment')}, {size(sum(segment.size for segment in segments))}"
        if not yes and not _confirmed(f"Delete all of {wal}: {what}?"):
            talk("nothing was deleted")
            return FAILURE
        log.purge_all_segments()
    talk(f"deleted {what}; the next LSN is {log.last_lsn + 1}")
    return OK


def _confirmed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        return False  # nobody is there to answer
