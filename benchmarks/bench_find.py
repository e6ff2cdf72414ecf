"""How long does it take to find the newest record of an id, there or not, in a plain segment and in sealed ones?"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import workloads
from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture
from records import Columns

import walcore

PRESENT = pytest.mark.parametrize("present", [True, False], ids=["present", "absent"])


@PRESENT
def bench_find(benchmark: BenchmarkFixture, parameters: Parameters, log: Path, *, present: bool) -> None:
    find(benchmark, parameters, log, parameters.records // 2 if present else -1, present=present)


def sealed_log(directory: Path, rows: Columns) -> Path:
    """The same records in segments of a few MiB, all of them sealed: the last one by an opening."""
    workloads.build(directory, rows, segment_bytes=sum(map(len, rows[1])) // 4)
    workloads.reopen(directory)
    return directory


@PRESENT
@pytest.mark.parametrize("ids", ["rising", "random"])
@pytest.mark.parametrize("indexed", [True, False], ids=["index", "scan"])
def bench_find_sealed(
    benchmark: BenchmarkFixture,
    parameters: Parameters,
    rows: Columns,
    tmp_path: Path,
    ids: str,
    *,
    indexed: bool,
    present: bool,
) -> None:
    numbers, lexicals, hashes = rows
    if ids == "random":
        numbers = random.Random(1).sample(range(2**31), len(numbers))
    log = sealed_log(tmp_path / "wal", (numbers, lexicals, hashes))
    for index in log.glob("*.walcore-index"):
        if not indexed:
            index.unlink()
    id = numbers[len(numbers) // 2] if present else -1 if ids == "rising" else 2**30 + 12345
    find(benchmark, parameters, log, id, present=present)


def find(benchmark: BenchmarkFixture, parameters: Parameters, log: Path, id: int, *, present: bool) -> None:
    record = benchmark.pedantic(walcore.find, args=[log, id], rounds=parameters.rounds, warmup_rounds=1)
    assert (record is not None) is present
