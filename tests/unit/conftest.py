"""Fixtures of more than one file: a directory, and syncs and wakes of the tests of walcore.aio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tasks import Gate

from walcore import aio, system
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
