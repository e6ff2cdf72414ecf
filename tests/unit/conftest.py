"""Fixtures of more than one file: a directory, logs with an index, and syncs and wakes of the tests of walcore.aio."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from indexes import write
from tasks import Gate

from walcore import aio, search, sources, system
from walcore import index as index_module
from walcore import seal as seal_module
from walcore.frames import FrameReader
from walcore.segments import Directory


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Directory(tmp_path / "wal", create=True) as directory:
        yield directory


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = system.calls.core = Gate()
    yield made
    made.syncs.set()
    system.calls.core = None


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one each time that a loop is woken."""
    counted: list[int] = []
    wake = aio._Waits._wake

    def count(self: aio._Waits) -> None:
        counted.append(1)
        wake(self)

    monkeypatch.setattr(aio._Waits, "_wake", count)
    return counted


@pytest.fixture(params=["isal", "zlib"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        for module in (seal_module, sources, index_module):
            monkeypatch.setattr(module, "codec", lambda: zlib)


@pytest.fixture(scope="module")
def kept_indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, int]]:
    path = tmp_path_factory.mktemp("kept") / "wal"
    return path, write(path, "random")


@pytest.fixture
def indexed(kept_indexed: tuple[Path, dict[int, int]], tmp_path: Path) -> tuple[Path, dict[int, int]]:
    return shutil.copytree(kept_indexed[0], tmp_path / "wal"), kept_indexed[1]


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the segments that find reads from their beginning."""
    names: list[str] = []

    class Counting(FrameReader):
        def __init__(self, segment, fd, size, **rest) -> None:  # type: ignore[no-untyped-def]
            if rest.get("source") is None:
                names.append(segment.name)
            super().__init__(segment, fd, size, **rest)

    monkeypatch.setattr(search, "FrameReader", Counting)
    return names
