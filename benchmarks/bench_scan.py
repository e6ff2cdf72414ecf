"""How many Records, or rows of Arrow batches, does reading a log give a second, all checked, the page cache warm?

*counts* is what `walcore verify` does: every checksum, no object.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import workloads
from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("segments", ["plain", "sealed"])
@pytest.mark.parametrize(
    "read", [workloads.scan, workloads.scan_arrow, workloads.count], ids=["records", "arrow", "counts"]
)
def bench_scan(
    benchmark: BenchmarkFixture,
    parameters: Parameters,
    request: pytest.FixtureRequest,
    read: Callable[[Path], int],
    segments: str,
) -> None:
    log: Path = request.getfixturevalue("log" if segments == "plain" else "sealed_log")
    benchmark.extra_info["unit"] = parameters.records
    count = benchmark.pedantic(read, args=[log], rounds=parameters.rounds, warmup_rounds=1)
    assert count == parameters.records
