"""How many records a second does a plain loop of log_mint log, durable at the end?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import workloads
from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture
from records import columns


@pytest.mark.parametrize("chars", [32, 256])
def bench_append(
    benchmark: BenchmarkFixture, parameters: Parameters, on_new_logs: Callable[..., None], chars: int
) -> None:
    benchmark.extra_info["unit"] = parameters.records
    on_new_logs(workloads.append, columns(parameters.records, chars))
