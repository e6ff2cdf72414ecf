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
