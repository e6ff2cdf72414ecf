"""How long does it take to find the newest record of one id, there or not?"""

from __future__ import annotations

from pathlib import Path

import pytest
from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture

import walcore


@pytest.mark.parametrize("present", [True, False], ids=["present", "absent"])
def bench_find(benchmark: BenchmarkFixture, parameters: Parameters, log: Path, *, present: bool) -> None:
    id = parameters.records // 2 if present else -1
    record = benchmark.pedantic(walcore.find, args=[log, id], rounds=parameters.rounds, warmup_rounds=1)
    assert (record is not None) is present
