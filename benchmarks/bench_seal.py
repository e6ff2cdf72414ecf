"""How many bytes of a plain segment are sealed a second: checked, compressed, synced, read back and indexed?"""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

from parameters import Parameters
from pytest_benchmark.fixture import BenchmarkFixture

from walcore.seal import seal_segment
from walcore.segments import Directory, Segment


def bench_seal(benchmark: BenchmarkFixture, parameters: Parameters, log: Path, tmp_path: Path) -> None:
    numbers = count()
    (segment,) = Directory(log).segments()
    benchmark.extra_info["bytes"] = segment.size

    def setup() -> tuple[tuple[Directory, Segment], dict[str, object]]:
        directory = Directory(shutil.copytree(log, tmp_path / f"wal-{next(numbers)}"))
        return (directory, directory.segments()[0]), {}

    benchmark.pedantic(seal_segment, setup=setup, rounds=parameters.rounds)
