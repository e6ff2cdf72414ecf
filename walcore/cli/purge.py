"""`walcore purge`: everything goes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from walcore.cli import FAILURE, OK
from walcore.cli.damage import show_opening
from walcore.cli.options import as_json, log_directory
from walcore.cli.output import count, size, talk, write_json

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Delete all segments; LSNs go on.")
@log_directory
@click.option("--yes", is_flag=True, help="Don't ask.")
@as_json
def command(wal: Path, yes: bool, as_json: bool) -> int:
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
        bytes_ = sum(segment.size for segment in segments)
        what = f"{count(len(segments), 'segment')}, {size(bytes_)}"
        if not yes and not _confirmed(f"Delete all of {wal}: {what}?"):
            return FAILURE
        log.purge_all_segments()
    next_lsn = log.last_lsn + 1
    if as_json:
        row = {"directory": str(wal), "segments": len(segments), "bytes": bytes_, "next_lsn": next_lsn}
        write_json({"what": "purge", **row})
    else:
        talk(f"deleted {what}; the next LSN is {next_lsn}")
    return OK


def _confirmed(question: str) -> bool:
    """Asks on stderr; says what follows from anything but a yes.  An interrupt is raised, by a terminal or not."""
    click.echo(f"{question} [y/N]: ", err=True, nl=False)
    answer = sys.stdin.buffer.readline() if sys.stdin else b""
    if not answer:
        click.echo(err=True)
        talk("no answer, nothing was deleted; --yes deletes without asking")
    elif answer.strip().lower() not in (b"y", b"yes"):
        talk("nothing was deleted")
    else:
        return True
    return False
