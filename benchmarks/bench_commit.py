"""How many commits a second do 1, 8 and 64 threads reach, each waiting until its record is on disk?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import workloads
from parameters import FULL, Parameters
from pytest_benchmark.fixture import BenchmarkFixture
from records import value


def bench_commit_one_client(
    benchmark: BenchmarkFixture, parameters: Parameters, on_new_logs: Callable[..., None]
) -> None:
    benchmark.extra_info["unit"] = parameters.commits
    on_new_logs(workloads.commit_each, range(2, parameters.commits + 2), value(7, parameters.lexical_chars))


@pytest.mark.parametrize("clients", FULL.clients)
def bench_commit(
    benchmark: BenchmarkFixture, parameters: Parameters, on_new_logs: Callable[..., None], clients: int
) -> None:
    benchmark.extra_info["unit"] = parameters.client_commits
    text = value(7, parameters.lexical_chars)
    on_new_logs(workloads.commit_from_threads, clients, parameters.client_commits, text)
