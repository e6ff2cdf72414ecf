"""The floor under a commit: the same frames, each with a write and an fdatasync of its own, from C and from Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from parameters import XSD_STRING, Parameters
from records import value

from walcore._core.encode import mint_frame

HERE = Path(__file__).parent


def write_frames(path: Path, parameters: Parameters) -> Path:
    """The frames of one run of commits as they stand in a segment; the first, which isn't timed, makes the file."""
    lexical = value(7, parameters.lexical_chars)
    numbers = range(1, parameters.commits + 2)
    path.write_bytes(b"".join(mint_frame(number, number, "L", lexical, XSD_STRING, "", 1) for number in numbers))
    return path


def loop_in_c(folder: Path) -> list[str] | None:
    """The command of the loop in C, compiled into `folder`; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = folder / "raw"
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, HERE / "raw.c"], check=True)
    return [str(program)]


def loop_in_python() -> list[str]:
    """The command of the loop in Python."""
    return [sys.executable, str(HERE / "raw_loop.py")]


def seconds(loop: list[str], frames: Path, file: Path) -> float:
    """One run of a loop into a new file: from behind the first frame to behind the last."""
    done = subprocess.run([*loop, str(frames), str(file)], capture_output=True, text=True, check=True)
    return float(done.stdout)
