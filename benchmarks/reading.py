"""Reading a log back: walcore's three ways, none of them with a look at a record, and the fastest peer, in turns."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from typing import Final

from clients import Built, run
from measure import HERE
from standing import ARROW, COUNTS, DECODER, RECORDS, Samples

RECORDS_READ: Final = 300_000


def measure(built: Built, rounds: int, talk: Callable[[str], None]) -> Samples:
    """Each way in an order drawn anew, of a log of lexicals of 32 characters that was just written."""
    samples: Samples = {}
    data, draw = built.folder / "reading", random.Random(1)
    python = str(built.folder / "venv" / "bin" / "python")
    on = ["--n", str(RECORDS_READ), "--dir"]
    sides = {
        side: [[python, str(HERE / "peer_driver.py"), way, *on, str(data)]]
        for side, way in ((RECORDS, "records"), (ARROW, "arrow"), (COUNTS, "counts"))
    }
    if built.rust.exists():
        with_pool = [*on, str(data / "log"), "--pool", str(built.folder / "pool32.txt")]
        sides[DECODER] = [[str(built.rust), DECODER, work, *with_pool] for work in ("w1", "w4")]
    for number in range(rounds):
        order = list(sides)
        draw.shuffle(order)
        for side in order:
            try:
                one = {"round": number, "per_s": run(sides[side], data)}
            except (subprocess.SubprocessError, ValueError) as exc:
                talk(f"{side}, reading back: {exc}")
                continue
            samples.setdefault(side, {}).setdefault("reading", []).append(one)
    shutil.rmtree(data, ignore_errors=True)
    return samples
