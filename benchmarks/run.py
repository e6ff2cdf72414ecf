"""run.py QUESTION SCALE FOLDER [LOG]: one measurement in a process of its own, printed as a number a second.

The table and the regression gate call it, the gate with another walcore on the path.  FOLDER is empty, LOG a log that
is there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import workloads
from parameters import MIB, SCALES, Parameters
from records import columns, value

import walcore


def open_log(folder: Path, p: Parameters, **settings: int) -> walcore.Wal:
    """A new log with the settings that the original gets, and others."""
    return walcore.open(folder, store_uuid=workloads.STORE, max_segment_bytes=p.segment_bytes, **settings)


def append(folder: Path, _: Path | None, p: Parameters) -> float:
    """Records a second, from before opening the log until the last is durable, as the original's harness counts."""
    rows = columns(p.records, p.lexical_chars)
    begin = time.perf_counter()
    wal = open_log(folder, p)
    workloads.append(wal, rows)
    seconds = time.perf_counter() - begin
    wal.close()
    return p.records / seconds


def log_mint(folder: Path, _: Path | None, p: Parameters) -> float:
    """The same on a log that is open and has its segment, so that the calls are what differs from `log_mint_many`."""
    return _calls(folder, p, workloads.append)


def log_mint_many(folder: Path, _: Path | None, p: Parameters) -> float:
    """The same in one call."""
    return _calls(folder, p, workloads.append_many)


def _calls(folder: Path, p: Parameters, load: Callable[..., None]) -> float:
    rows = columns(p.records, p.lexical_chars)
    with open_log(folder, p) as wal:
        workloads.commit_each(wal, [0], "makes the segment")
        begin = time.perf_counter()
        load(wal, rows)
        return p.records / (time.perf_counter() - begin)


def commit_preallocated(folder: Path, _: Path | None, p: Parameters) -> float:
    """One client's durable commits a second, with a MiB allocated ahead."""
    return commit(folder, p, 1, preallocate_bytes=MIB)


def commit(folder: Path, p: Parameters, clients: int, **settings: int) -> float:
    """Durable commits a second; the first one, which makes the segment, isn't timed."""
    lexical = value(7, p.lexical_chars)
    with open_log(folder, p, **settings) as wal:
        workloads.commit_each(wal, [1], lexical)
        count = p.commits if clients == 1 else p.client_commits // clients * clients
        begin = time.perf_counter()
        if clients == 1:
            workloads.commit_each(wal, range(2, count + 2), lexical)
        else:
            workloads.commit_from_threads(wal, clients, count, lexical)
        return count / (time.perf_counter() - begin)


def scan(_: Path, log: Path | None, p: Parameters) -> float:
    """Records a second, checked and decoded."""
    assert log
    begin = time.perf_counter()
    count = workloads.scan(log)
    seconds = time.perf_counter() - begin
    assert count == p.records, (count, p.records)
    return count / seconds


def recover(_: Path, log: Path | None, p: Parameters) -> float:
    """Records a second into the dictionary."""
    assert log
    begin = time.perf_counter()
    recovered = walcore.recover(log)
    seconds = time.perf_counter() - begin
    assert len(recovered.records) == p.records
    return p.records / seconds


def find(_: Path, log: Path | None, p: Parameters) -> float:
    """Searches a second for an id in the middle."""
    assert log
    begin = time.perf_counter()
    record = walcore.find(log, p.records // 2)
    seconds = time.perf_counter() - begin
    assert record is not None
    return 1 / seconds


def reopen(_: Path, log: Path | None, p: Parameters) -> float:
    """Openings and closings a second of a log that was closed."""
    assert log
    begin = time.perf_counter()
    for _round in range(p.rounds):
        workloads.reopen(log)
    return p.rounds / (time.perf_counter() - begin)


ANSWERS: Final = {
    "append": append,
    "log_mint": log_mint,
    "log_mint_many": log_mint_many,
    "commit-preallocated": commit_preallocated,
    "scan": scan,
    "recover": recover,
    "find": find,
    "open": reopen,
}


def answer(question: str, p: Parameters, folder: Path, log: Path | None = None) -> float:
    """One measurement, a second."""
    if question in ANSWERS:
        return ANSWERS[question](folder, log, p)
    return commit(folder, p, int(question.removeprefix("commit-")))


if __name__ == "__main__":
    name, scale, *paths = sys.argv[1:]
    print(answer(name, SCALES[scale], *map(Path, paths)))
