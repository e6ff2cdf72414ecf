"""What is done to walcore in every measurement; the clock is the caller's."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from parameters import XSD_STRING

import walcore
import walcore.aio

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from records import Columns

# Public names are imported when first asked for: now, not under the clock.
for name in walcore.__all__:
    getattr(walcore, name)

LITERAL: Final = walcore.ValueKind.LITERAL
STORE: Final = "11111111-2222-3333-4444-555555555555"


def append(wal: walcore.Wal, rows: Columns) -> None:
    """A plain loop of `log_mint`, durable at the end."""
    log_each(wal, rows)
    wal.commit()


def log_each(wal: walcore.Wal, rows: Columns) -> None:
    """The loop alone."""
    log_mint = wal.log_mint
    for id, lexical, hash in zip(*rows, strict=True):
        log_mint(id, LITERAL, lexical, XSD_STRING, "", hash)


def append_many(wal: walcore.Wal, rows: Columns) -> None:
    """The same records in one call, durable at the end."""
    ids, lexicals, hashes = rows
    wal.log_mint_many(ids, LITERAL, lexicals, XSD_STRING, "", hashes)
    wal.commit()


def arrays(rows: Columns) -> tuple[np.ndarray, pa.Array, np.ndarray]:
    """The same records, for the same call, without an object for each."""
    import numpy as np
    import pyarrow as pa

    ids, lexicals, hashes = rows
    return np.array(ids, "int32"), pa.array(lexicals), np.array(hashes, "int32")


def commit_each(wal: walcore.Wal, ids: Sequence[int], lexical: str) -> None:
    """Each record is on disk before the next is logged."""
    log_mint, commit = wal.log_mint, wal.commit
    for id in ids:
        commit(log_mint(id, LITERAL, lexical, XSD_STRING, "", 1))


def commit_from_threads(wal: walcore.Wal, clients: int, commits: int, lexical: str) -> None:
    """The same from `clients` threads, `commits` in all."""
    shares = [range(client + 2, commits + 2, clients) for client in range(clients)]
    threads = [threading.Thread(target=commit_each, args=(wal, share, lexical)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def commit_from_tasks(wal: walcore.Wal, clients: int, commits: int, lexical: str) -> None:
    """The same from as many tasks of one event loop."""

    async def client(view: walcore.aio.AsyncWal, ids: Sequence[int]) -> None:
        log_mint, commit = view.log_mint, view.commit
        for id in ids:
            await commit(log_mint(id, LITERAL, lexical, XSD_STRING, "", 1))

    async def work() -> None:
        view = walcore.aio.AsyncWal(wal)
        await asyncio.gather(*(client(view, range(first + 2, commits + 2, clients)) for first in range(clients)))

    asyncio.run(work())


def scan(directory: Path) -> int:
    """Every record as a Record object; returns how many there are."""
    count = 0
    for _ in walcore.read(directory):
        count += 1
    return count


def scan_arrow(directory: Path) -> int:
    """Every record in an Arrow batch; returns how many there are."""
    return sum(map(len, walcore.read_arrow(directory).batches()))


def count(directory: Path) -> int:
    """The same, without an object for a record."""
    counts: dict[str, int] = {}
    for counts in walcore.read(directory).counts():  # noqa: B007 - the last is that of all
        pass
    return sum(counts.values())


def reopen(directory: Path) -> None:
    """Open a log that is there, and close it."""
    walcore.open(directory, create=False).close()


def build(directory: Path, rows: Columns, segment_bytes: int) -> Path:
    """A log of these records, closed."""
    with walcore.open(directory, store_uuid=STORE, max_segment_bytes=segment_bytes) as wal:
        append_many(wal, rows)
    return directory
