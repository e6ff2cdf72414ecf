"""How many Records, or rows of Arrow batches, does reading a log give a second, all checked, the page cache warm?"""

from __future__ import annotations

from pathlib import Path

import workloads
from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture


def bench_scan_plain(benchmark: BenchmarkFixture, parameters: Parameters, log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(workloads.scan, args=[log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records


def bench_scan_arrow(benchmark: BenchmarkFixture, parameters: Parameters, log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(workloads.scan_arrow, args=[log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records


def bench_scan_sealed(benchmark: BenchmarkFixture, parameters: Parameters, sealed_log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(workloads.scan, args=[sealed_log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records


def bench_count_plain(benchmark: BenchmarkFixture, parameters: Parameters, log: Path) -> None:
    """As `walcore verify` does: every checksum, no object."""
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(workloads.count, args=[log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records


def bench_count_sealed(benchmark: BenchmarkFixture, parameters: Parameters, sealed_log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(workloads.count, args=[sealed_log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records
