"""How many Records, or rows of Arrow batches, does reading a log give a second, all checked, the page cache warm?"""

from __future__ import annotations

from pathlib import Path

import pytest
import workloads
from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture
from records import Columns


def bench_scan_plain(benchmark: BenchmarkFixture, parameters: Parameters, log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(workloads.scan, args=[log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records


def bench_scan_arrow(benchmark: BenchmarkFixture, parameters: Parameters, log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(workloads.scan_arrow, args=[log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records


@pytest.fixture
def sealed_log(tmp_path: Path, rows: Columns) -> Path:
    """The same records in segments of a few MiB, all but the last of them sealed."""
    directory = workloads.build(tmp_path / "wal", rows, segment_bytes=sum(map(len, rows[1])))
    assert list(directory.glob("*.gz"))
    return directory


def bench_scan_sealed(benchmark: BenchmarkFixture, parameters: Parameters, sealed_log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(workloads.scan, args=[sealed_log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records
