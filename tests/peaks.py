"""A process that does things with a folder and prints, for each, how far its memory rose above what it was before.

    python peaks.py FOLDER WARM OPERATION...

WARM is a sound log, with which everything is done once before: what modules and buffers take isn't what is measured.
An operation is a name of `surroundings.OPERATIONS`, or "load FILE", which loads into a new log.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from pathlib import Path

from surroundings import OPERATIONS, _command, do


def _status(field: str) -> int:
    """MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) // 1024


def rise(operation: str, wal: Path) -> int:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    if operation.startswith("load "):
        OPERATIONS["loading"] = _command("load", operation.removeprefix("load "), "--wal", "{wal}")
        with tempfile.TemporaryDirectory() as scratch:
            do("loading", Path(scratch, "wal"))
    else:
        do(operation, wal)
    return _status("VmHWM") - before


if __name__ == "__main__":
    folder, warm, *operations = sys.argv[1:]
    for name in operations:
        rise(name, Path(warm))
    for name in operations:
        print(json.dumps([name, rise(name, Path(folder))]), flush=True)
