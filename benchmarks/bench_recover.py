"""How many records a second does recovery put into its dictionary?"""

from __future__ import annotations

from pathlib import Path

from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture

import walcore


def bench_recover(benchmark: BenchmarkFixture, parameters: Parameters, log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    recovered = benchmark.pedantic(walcore.recover, args=[log], rounds=parameters.rounds)
    assert len(recovered.records) == parameters.records


def bench_recover_sealed(benchmark: BenchmarkFixture, parameters: Parameters, sealed_log: Path) -> None:
    benchmark.extra_info["unit"] = parameters.records
    recovered = benchmark.pedantic(walcore.recover, args=[sealed_log], rounds=parameters.rounds)
    assert len(recovered.records) == parameters.records


def bench_recover_bounded(benchmark: BenchmarkFixture, parameters: Parameters, log: Path) -> None:
    """In a tenth of the memory that the dictionary takes, or what is the least."""
    most = max(40 * parameters.records, 1 << 20)
    benchmark.extra_info["unit"] = parameters.records
    recovered = benchmark.pedantic(walcore.recover, args=[log], kwargs={"max_memory": most}, rounds=parameters.rounds)
    assert len(recovered.records) == parameters.records
