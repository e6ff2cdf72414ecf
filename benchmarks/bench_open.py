"""How long does opening take, after a clean close and after a crash, on a small log and on one of many segments?"""

from __future__ import annotations

import shutil
import time
from itertools import count
from pathlib import Path

import pytest
import workloads
from parameters import SCALES, XSD_STRING, Parameters
from pytest_benchmark.fixture import BenchmarkFixture
from records import value

import walcore

LARGE = 4096


def fill(wal: walcore.Wal, parameters: Parameters, segments: int) -> None:
    """Records until the log is in its `segments`-th segment, and that nearly full."""
    lexical, rows, first = value(7, LARGE), int(0.9 * parameters.open_segment_bytes) // LARGE, 1
    for number in range(segments):
        wal.log_mint_many(range(first, first + rows), "L", [lexical] * rows, XSD_STRING)
        first += rows
        wal.rotate() if number < segments - 1 else wal.commit()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("segments", SCALES[metafunc.config.getoption("scale")].open_segments)


@pytest.fixture
def crashed(parameters: Parameters, tmp_path: Path, segments: int) -> Path:
    """What a kill leaves of a log."""
    with walcore.open(tmp_path / "live", max_segment_bytes=parameters.open_segment_bytes) as wal:
        fill(wal, parameters, segments)
        while wal.stats().seal_backlog:
            time.sleep(0.01)
        return Path(shutil.copytree(tmp_path / "live", tmp_path / "crashed"))


def bench_open_closed(benchmark: BenchmarkFixture, parameters: Parameters, crashed: Path) -> None:
    walcore.open(crashed).close()
    benchmark.pedantic(workloads.reopen, args=[crashed], rounds=parameters.rounds, warmup_rounds=1)


def bench_open_crashed(benchmark: BenchmarkFixture, parameters: Parameters, crashed: Path) -> None:
    copies = count()

    def setup() -> tuple[tuple[Path], dict[str, object]]:
        return (Path(shutil.copytree(crashed, crashed.with_name(f"copy-{next(copies)}"))),), {}

    benchmark.pedantic(workloads.reopen, setup=setup, rounds=parameters.rounds)
