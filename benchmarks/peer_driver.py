"""peer_driver.py WHAT --dir DIR --n N: a driver like the peers' own, for what theirs don't ask.

`tasks`: durable commits by --clients C tasks of one event loop.  `ahead`: by one client, with a MiB allocated ahead of
the records.  The first commit, which makes the file, is not timed: the other drivers' logs make theirs when they are
opened.  `records`, `arrow`, `counts`: N records, logged before, read back as Record objects, as Arrow batches, or
checked alone.  Prints {"n": N, "seconds": s}.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import workloads
from parameters import MIB
from records import columns, value

import walcore

CHARS = 256
SHORT_CHARS = 32
READ = {"records": workloads.scan, "arrow": workloads.scan_arrow, "counts": workloads.count}


def commit(folder: Path, what: str, commits: int, clients: int) -> float:
    """The seconds that so many commits take."""
    lexical = value(7, CHARS)
    ahead = MIB if what == "ahead" else 0
    with walcore.open(folder, store_uuid=workloads.STORE, preallocate_bytes=ahead) as wal:
        workloads.commit_each(wal, [1], lexical)
        begin = time.perf_counter()
        if what == "tasks":
            workloads.commit_from_tasks(wal, clients, commits, lexical)
        else:
            workloads.commit_each(wal, range(2, commits + 2), lexical)
        return time.perf_counter() - begin


def read(folder: Path, what: str, records: int) -> float:
    """The seconds that reading so many records takes, the page cache warm."""
    log = workloads.build(folder, columns(records, SHORT_CHARS), 1 << 30)
    begin = time.perf_counter()
    found = READ[what](log)
    seconds = time.perf_counter() - begin
    assert found == records, (found, records)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tasks", "ahead", *READ))
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--n", type=int, required=True, help="commits in all, or records")
    parser.add_argument("--clients", type=int, default=1)
    a = parser.parse_args()
    folder = a.dir / "wal"
    seconds = read(folder, a.what, a.n) if a.what in READ else commit(folder, a.what, a.n, a.clients)
    print(json.dumps({"n": a.n, "seconds": seconds}))


if __name__ == "__main__":
    main()
