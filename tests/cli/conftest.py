"""Logs and files that the tests of the command line run on, and a run in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from commands import Done, content

import walcore
from walcore.cli import main

TURTLE = '@prefix : <http://e/> .\n:a :b _:x, "Zürich"@de, 5, "x" .\n[] :c :d .\n'


class Stdin(io.TextIOWrapper):
    """Bytes as the stdin of a command that runs in this process."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    def call(*words: object, stdin: bytes = b"") -> Done:
        capfdbinary.readouterr()
        monkeypatch.setattr("sys.stdin", Stdin(stdin))
        status = main([str(word) for word in words])
        out, err = capfdbinary.readouterr()
        return Done(status, out.decode(), err.decode())

    return call


@pytest.fixture
def turtle(tmp_path: Path) -> Path:
    path = tmp_path / "data.ttl"
    path.write_text(TURTLE, encoding="utf-8")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A closed log of five records in one segment."""
    directory = tmp_path / "wal"
    with walcore.open(directory) as wal:
        wal.log_mint(1, "I", "http://e/a")
        wal.log_mint(2, "B", "b1")
        wal.log_mint(3, "L", 'line\n"two"\ud83d', datatype="e:d", hash=-7)
        wal.log_mint(4, "L", "Zürich", language="de")
        wal.log_mint(-5, "N", "http://e/")
    return directory


@pytest.fixture
def damaged(log: Path) -> Path:
    """The same with a flipped bit in the value of its fourth record."""
    path = next(log.glob("wal-*"))
    plain = bytearray(content(path))
    plain[plain.index("Zürich".encode())] ^= 1
    path.unlink()
    (log / path.name.removesuffix(".gz")).write_bytes(plain)
    return log


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The LSNs that logs opened from now on are asked to commit."""
    asked: list[int] = []
    real = walcore.open

    def counted(*words: Any, **options: Any) -> walcore.Wal:
        log = real(*words, **options)
        commit = log.commit

        def count(lsn: int | None = None) -> int:
            asked.append(lsn or 0)
            return commit(lsn)

        log.commit = count  # type: ignore[method-assign, assignment]
        return log

    monkeypatch.setattr(walcore, "open", counted)
    return asked
