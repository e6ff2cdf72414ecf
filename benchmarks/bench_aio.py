"""How many commits a second do the tasks of one event loop reach, beside as many threads and beside one client?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import workloads
from parameters import FULL, Parameters
from pytest_benchmark.fixture import BenchmarkFixture
from records import value

CLIENTS = {"tasks": workloads.commit_from_tasks, "threads": workloads.commit_from_threads}


@pytest.mark.parametrize("clients", [1, *FULL.clients])
@pytest.mark.parametrize("kind", CLIENTS)
def bench_commit_aio(
    benchmark: BenchmarkFixture, parameters: Parameters, on_new_logs: Callable[..., None], kind: str, clients: int
) -> None:
    commits = parameters.commits if clients == 1 else parameters.client_commits
    benchmark.extra_info["unit"] = commits
    on_new_logs(CLIENTS[kind], clients, commits, value(7, parameters.lexical_chars))
