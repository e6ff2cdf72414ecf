"""growth.py: does the cost of a record grow with the log, with the clients, with the value?

Logs from a megabyte on are filled, closed, opened, searched, appended to and committed to: what works on the end of a
log, or by an index, should cost the same whatever lies before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import workloads
from measure import Workplace
from parameters import XSD_STRING
from records import columns, value
from rich.console import Console
from rich.table import Table

import walcore

MB: Final = 1_000_000
CHARS: Final = 256
# The line around the lexical, and the frame around the line.
FRAME_BYTES: Final = 392
SIZES_MB: Final = (1, 10, 100, 1000)
FULL_MB: Final = 10_000
CLIENTS: Final = (1, 4, 16, 64, 256)
VALUES: Final = (16, 256, 4096, 65_536, 1 << 20, 16 << 20)
APPENDED: Final = 20_000
# To a log whose size is to stay what it is.
APPENDED_TO: Final = 1000
COMMITTED: Final = 200
ROUNDS: Final = 5
QUICK_ROUNDS: Final = 15
Numbers = dict[str, float]


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def often(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of some rounds."""
    return median(seconds(work) for _ in range(rounds))


def fill(wal: walcore.Wal, size: int) -> int:
    """A log of so many MB, all of it in sealed segments once it is closed; returns the last id."""
    last, (_, lexicals, hashes) = 0, columns(APPENDED, CHARS)
    while last * FRAME_BYTES < size * MB:
        count = min(APPENDED, size * MB // FRAME_BYTES + 1 - last)
        ids = range(last + 1, last + count + 1)
        wal.log_mint_many(ids, "L", lexicals[:count], XSD_STRING, "", hashes[:count])
        last += count
    wal.rotate()
    return last


def by_size(folder: Path, sizes: tuple[int, ...]) -> Iterator[Numbers]:
    """Logs of these sizes in MB; what is measured adds less than 3 MB."""
    lexical, rows = value(7, CHARS), columns(APPENDED_TO, CHARS)
    for size in sizes:
        with walcore.open(folder) as wal:
            last = fill(wal, size)
        opening = often(lambda: workloads.reopen(folder), QUICK_ROUNDS)
        searching = often(lambda middle=last // 2: walcore.find(folder, middle), QUICK_ROUNDS)
        with walcore.open(folder) as wal:
            workloads.commit_each(wal, [0], "makes the segment")
            appending = often(lambda log=wal: workloads.log_each(log, rows))
            committing = often(lambda log=wal: workloads.commit_each(log, range(COMMITTED), lexical))
        shutil.rmtree(folder)
        yield {
            "log_mb": size,
            "append_ns": appending / APPENDED_TO * 1e9,
            "commit_us": committing / COMMITTED * 1e6,
            "open_ms": opening * 1e3,
            "find_ms": searching * 1e3,
        }


def by_clients(folder: Path) -> Iterator[Numbers]:
    """A commit's cost on a log that so many threads share."""
    lexical = value(7, CHARS)
    for clients in CLIENTS:
        with walcore.open(folder / str(clients)) as wal:
            workloads.commit_each(wal, [1], lexical)
            commits = clients * (COMMITTED if clients <= 16 else COMMITTED // 4)
            whole = often(lambda log=wal: workloads.commit_from_threads(log, clients, commits, lexical))  # noqa: B023
        yield {"clients": clients, "commit_us": whole / commits * 1e6, "commits_s": commits / whole}


def by_value(folder: Path) -> Iterator[Numbers]:
    """An append's cost for values of so many bytes, the sync at the end of all of them within."""
    for size in VALUES:
        # From some twenty thousand small ones to four of the largest.
        rows = columns(max(4, min(APPENDED, 32 * MB // size)), min(size, 1024))
        ids, lexicals, hashes = rows
        if size > 1024:
            lexicals = ["x" * size] * len(ids)
        with walcore.open(folder / str(size)) as wal:
            workloads.commit_each(wal, [0], "makes the segment")
            whole = often(lambda log=wal: workloads.append(log, (ids, lexicals, hashes)))  # noqa: B023
        yield {"value_bytes": size, "append_us": whole / len(ids) * 1e6, "mb_s": size * len(ids) / whole / MB}


def show(console: Console, title: str, rows: list[Numbers]) -> None:
    console.print(title)
    table = Table()
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{number:,.0f}" if number >= 100 else f"{number:,.2f}" for number in row.values()))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a log of up to 100 MB")
    parser.add_argument("--full", action="store_true", help="a log of up to 10 GB: takes 25 GB of disk while it seals")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="a folder on the disk to be measured")
    parser.add_argument("--out", type=Path, help="write the numbers here as JSON, which plots.py reads")
    arguments = parser.parse_args()
    sizes = SIZES_MB[:3] if arguments.quick else (*SIZES_MB, FULL_MB) if arguments.full else SIZES_MB
    console = Console(width=150)
    with Workplace(arguments.work, "quick") as work:
        found = {
            "log": list(by_size(work.folder / "log", sizes)),
            "clients": list(by_clients(work.folder)),
            "values": list(by_value(work.folder)),
        }
        disk = work.file_system()
    meta = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "fs": disk,
        "python": platform.python_version(),
        "load": os.getloadavg()[1],
    }
    rounds = f"medians of {ROUNDS} to {QUICK_ROUNDS}"
    where = f"{meta['date'][:10]}, {meta['cores']} cores, {disk}, load {meta['load']:.1f}; {rounds}"
    show(console, f"By size of the log ({where})", found["log"])
    show(console, "By number of threads that commit", found["clients"])
    show(console, "By size of the value", found["values"])
    if arguments.out:
        arguments.out.write_text(json.dumps({"meta": meta} | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
