"""And how many does one call of log_mint_many log, from lists, from arrays, or from Record objects?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import workloads
from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture
from records import Columns

import walcore


def bench_append_many_columns(
    benchmark: BenchmarkFixture, parameters: Parameters, on_new_logs: Callable[..., None], rows: Columns
) -> None:
    benchmark.extra_info["unit"] = parameters.records
    on_new_logs(workloads.append_many, rows)


def bench_append_many_arrays(
    benchmark: BenchmarkFixture, parameters: Parameters, on_new_logs: Callable[..., None], rows: Columns
) -> None:
    benchmark.extra_info["unit"] = parameters.records
    on_new_logs(workloads.append_many, workloads.arrays(rows))


def bench_append_many_records(
    benchmark: BenchmarkFixture, parameters: Parameters, on_new_logs: Callable[..., None], log: Path
) -> None:
    benchmark.extra_info["unit"] = parameters.records

    def write(wal: walcore.Wal, records: list[walcore.Record]) -> None:
        wal.log_mint_many(records)
        wal.commit()

    on_new_logs(write, list(walcore.read(log)))
