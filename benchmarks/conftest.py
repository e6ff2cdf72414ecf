"""What the benchmarks share: the parameters, a log to read, and a fresh log for each round of writing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import workloads
from parameters import SCALES, Parameters
from pytest_benchmark.fixture import BenchmarkFixture
from records import Columns, columns

import walcore

Write = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scale", choices=sorted(SCALES), default="quick", help="a set of sizes from parameters.py")


@pytest.fixture(scope="session")
def parameters(pytestconfig: pytest.Config) -> Parameters:
    return SCALES[pytestconfig.getoption("scale")]


@pytest.fixture(scope="session")
def rows(parameters: Parameters) -> Columns:
    return columns(parameters.records, parameters.lexical_chars)


@pytest.fixture(scope="session")
def log(parameters: Parameters, rows: Columns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of all the records, closed."""
    return workloads.build(tmp_path_factory.mktemp("log") / "wal", rows, parameters.segment_bytes)


@pytest.fixture
def sealed_log(tmp_path: Path, rows: Columns) -> Path:
    """The same records in segments of a few MiB, all but the last of them sealed."""
    directory = workloads.build(tmp_path / "wal", rows, segment_bytes=sum(map(len, rows[1])))
    assert list(directory.glob("*.gz"))
    return directory


@pytest.fixture
def on_new_logs(benchmark: BenchmarkFixture, parameters: Parameters, tmp_path: Path) -> Callable[..., None]:
    """Times `write(wal, *arguments)` once on each of several logs; opening and closing them is left out."""
    numbers = count()

    def time(write: Write, *arguments: object) -> None:
        def setup() -> tuple[tuple[object, ...], dict[str, object]]:
            wal = walcore.open(tmp_path / f"wal-{next(numbers)}", max_segment_bytes=parameters.segment_bytes)
            workloads.commit_each(wal, [1], "makes the segment")
            return (wal, *arguments), {}

        def teardown(wal: walcore.Wal, *_: object) -> None:
            wal.close()
            shutil.rmtree(wal.path)

        benchmark.pedantic(write, setup=setup, teardown=teardown, rounds=parameters.rounds)

    return time
