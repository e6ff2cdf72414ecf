"""What can be asked of a live log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A log at one moment.  Bytes and counts are since the log was opened; times are in seconds."""

    state: str
    """"open", "closing", "closed" or "failed"."""
    last_lsn: int
    written_lsn: int
    durable_lsn: int
    segment: str | None
    """File name of the segment being written; None before the first record, and after `rotate` or a purge."""
    buffered_bytes: int
    """Bytes of frames that the kernel doesn't have yet."""
    bytes_written: int
    """Bytes of frames given to the kernel, headers not counted."""
    writes: int
    syncs: int
    sync_seconds: float
    """Spent in syncs of records; divided by `syncs` it is what one takes."""
    sync_seconds_max: float
    seal_backlog: int
    """Finished segments not sealed yet, the one being sealed included."""
    sealed: int
    seal_failures: tuple[str, ...]
    """Why segments stayed plain, the latest hundred: `name: reason`."""
    index_backlog: int
    """Sealed segments whose indexes have to be looked at, and made where none fits."""
