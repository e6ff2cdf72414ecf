"""The child process that the demo kills, and what the parent knows of it: acknowledgements, read from a pipe.

Nothing here looks into the log: what the child was promised is known without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walcore.cli.output import count
from walcore.errors import WalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEGMENT_BYTES: Final = 2 * 1024 * 1024
"""Small, so that a few megabytes show rotation and sealing."""

# The parent's sys.path goes with it: in a checkout, the folder of sources may hide the installed package.
_BOOT: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from walcore.cli.crash import child
child(*sys.argv[2:])
"""


@dataclass(frozen=True)
class Promise:
    """What a child had been told when it was killed: `values` and `lsn` are durable, by `acknowledgements` commits
    in so many `seconds`.
    """

    values: int
    lsn: int
    acknowledgements: int
    seconds: float


def child(directory: str, values: str, every: str) -> None:
    """Logs the values of a file (a line: `log_mint`'s arguments as JSON), says so after each commit, and waits."""
    import walcore

    with open(values, "rb") as lines:  # noqa: PTH123 - a child has no use for pathlib
        rows = [json.loads(line) for line in lines]  # first, so that the rate is that of logging
    wal = walcore.open(directory, max_segment_bytes=SEGMENT_BYTES)
    start = time.monotonic_ns()
    for number, row in enumerate(rows, 1):
        lsn = wal.log_mint(*row)
        if number % int(every) == 0 or number == len(rows):
            wal.commit(lsn)
            os.write(1, b"%d %d %d\n" % (number, lsn, time.monotonic_ns() - start))
    sys.stdin.read()  # never closed by the parent: the log ends by a kill, whenever that comes


def log_and_kill(
    directory: Path, values: Path, every: int, kill_after: int, on_ack: Callable[[int], object]
) -> Promise:
    """Lets a child log `values`, kills it with SIGKILL at acknowledgement `kill_after`, and tells what it was promised.

    Raises:
        WalError: the child ended by itself; the message has the end of what it said.
    """
    command = [sys.executable, "-P", "-c", _BOOT, json.dumps(sys.path), str(directory), str(values), str(every)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603
    assert process.stdout
    assert process.stderr
    acks: list[tuple[int, int, int]] = []
    try:
        for line in process.stdout:  # goes on behind the kill: what lies in the pipe was promised as well
            number, lsn, nanoseconds = map(int, line.split())
            acks.append((number, lsn, nanoseconds))
            if len(acks) == kill_after:
                process.kill()
            on_ack(number)
    finally:
        process.kill()
        with contextlib.suppress(BrokenPipeError), process:
            said = process.stderr.read().decode(errors="replace").strip()
    if len(acks) < kill_after:
        commits = count(len(acks), "commit")
        msg = f"the child process ended by itself after {commits}: {said[-2000:] or 'without a word'}"
        raise WalError(msg)
    number, lsn, nanoseconds = acks[-1]
    return Promise(number, lsn, len(acks), nanoseconds / 1e9)
