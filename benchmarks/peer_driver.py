"""peer_driver.py tasks|ahead --dir DIR --n N --clients C: a driver like the peers' own, for what theirs don't ask.

`tasks`: the clients are tasks of one event loop.  `ahead`: one client, with a MiB allocated ahead of the records.
Prints {"n": commits, "seconds": s}.  The first commit, which makes the file, is not timed: the other drivers' logs
make theirs when they are opened.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import workloads
from parameters import MIB
from records import value

import walcore

CHARS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tasks", "ahead"))
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--n", type=int, required=True, help="commits in all")
    parser.add_argument("--clients", type=int, default=1)
    arguments = parser.parse_args()
    lexical = value(7, CHARS)
    ahead = MIB if arguments.what == "ahead" else 0
    with walcore.open(arguments.dir / "wal", store_uuid=workloads.STORE, preallocate_bytes=ahead) as wal:
        workloads.commit_each(wal, [1], lexical)
        begin = time.perf_counter()
        if arguments.what == "tasks":
            workloads.commit_from_tasks(wal, arguments.clients, arguments.n, lexical)
        else:
            workloads.commit_each(wal, range(2, arguments.n + 2), lexical)
        seconds = time.perf_counter() - begin
    print(json.dumps({"n": arguments.n, "seconds": seconds}))


if __name__ == "__main__":
    main()
