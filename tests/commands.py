"""Runs of the command line: in this process (fixture `run` of tests/cli), or as a process of its own."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import walcore

COMMAND = [sys.executable, "-P", "-m", "walcore"]


def content(segment: Path) -> bytes:
    """The plain bytes of a segment, sealed or not."""
    data = segment.read_bytes()
    return gzip.decompress(data) if segment.suffix == ".gz" else data


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def environment() -> dict[str, str]:
    """Where the running walcore was imported from comes first: the checkout may hide it otherwise."""
    return os.environ | {"PYTHONPATH": str(Path(walcore.__file__).parents[1])}


def spawn(*words: object, **options: Any) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *map(str, words)], env=environment(), **(pipes | options))


def run_alone(*words: object, stdin: bytes = b"") -> Done:
    with spawn(*words) as process:
        out, err = process.communicate(stdin, timeout=60)
    return Done(process.returncode, out.decode(), err.decode())
