"""Deleting all that a log holds, so that a crash in between either leaves everything or is finished later.

`mark` makes durable what is to go; from then on it counts as gone, and `carry_out` deletes it.  Only what the marker
lists is ever deleted: RDF4J knows nothing of the marker and may have written to the directory since.
"""

from __future__ import annotations

from walcore.errors import CorruptionError
from walcore.format import PURGE_NAME
from walcore.segments import Directory, PurgeMarker
from walcore.state import State, write_state


def mark(directory: Directory, next_lsn: int, store: str) -> PurgeMarker:
    """List every segment that is there now and make the list durable: the point of no return.

    The sealer must have been stopped.  What is no regular file is not listed: it isn't ours to delete.

    Raises:
        OSError: the marker is not in force and the log is as it was, unless the failed call is the `fsync` of the
            directory (`call` of the exception), after which either may be true.
    """
    headed, headless = set(), set()
    for segment in directory.segments(forbidden=True):
        if segment.header:
            headed.add((segment.name, segment.header.number, segment.header.crc))
        elif not segment.irregular:
            headless.add((segment.name, segment.inode, segment.size))
    marker = PurgeMarker(next_lsn, store, frozenset(headed), frozenset(headless))
    directory.write_marker(marker)
    return marker


def carry_out(directory: Directory, marker: PurgeMarker) -> int:
    """Delete what the marker lists, make the state durable, remove the marker; all of it can be done again.

    From the highest number down, each deletion durable before the next: whatever a crash leaves is the beginning of a
    log, which RDF4J still reads.

    Returns:
        The number of the next segment: 1, unless segments remain that were written after the marker.

    Raises:
        OSError: the purge is not finished; the next opening does that.
    """
    segments = [
        # Listed by name and header, one that may not be read can't be told from one that isn't listed.
        segment if segment.header or marker.lists(segment) else directory.segment(segment.name) or segment
        for segment in directory.segments(forbidden=True)
    ]
    for segment in reversed(segments):
        if marker.lists(segment):
            directory.delete(segment)
    left = [segment.number for segment in segments if segment.header and not marker.lists(segment)]
    state = State(
        last_lsn=marker.next_lsn - 1,
        number=0,
        header_crc=0,
        size=0,
        store=marker.store,
        clean=not left,
        first_number=min(left, default=1),
    )
    write_state(directory, state)
    directory.drop(PURGE_NAME)
    directory.sync()
    return max(left, default=0) + 1


def begun(directory: Directory) -> PurgeMarker | None:
    """The marker of a purge that a crash left unfinished; None if there is none.

    Raises:
        CorruptionError: there is one, but it can't be read: what it listed and which LSNs were given out is unknown.
    """
    marker = directory.read_marker()
    if marker is None and directory.has(PURGE_NAME):
        msg = (
            f"{directory.path / PURGE_NAME} is damaged: a purge began and can't be finished.  Delete the file to keep "
            "the segments that are left; LSNs of those already deleted may then be given out again"
        )
        raise CorruptionError(msg, kind="purge_marker", segment=PURGE_NAME)
    return marker
