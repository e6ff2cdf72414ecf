"""What would marks of "on disk up to here", written at the head of each drain, make detectable?  See decision 0008.

A segment of 300 records, synced after every n-th, is damaged in what was acknowledged, as a power cut finds it: no
state file vouches for it.  Counted is how often the rule of zeros calls that a tear, and so cuts it off as never
acknowledged, and how often it still would with a mark at the head of every drain.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

from walcore._core.encode import header_frame, mint_frame
from walcore.frames import check_segment
from walcore.segments import list_segments

TRIALS = 2_000
MARK = len(b'{"t":"D","end":12345678}\n') + 8


def segment(every: int) -> tuple[bytes, list[int]]:
    """A segment's bytes, and where each drain begins; its end is the last."""
    data, starts = header_frame("11111111-2222-3333-4444-555555555555", 1_700_000_000, 1, 1), []
    for lsn in range(1, 301):
        if lsn % every == 1 or every == 1:
            starts.append(len(data))
        data += mint_frame(lsn, lsn, "L", f"value {lsn}" + "x" * (lsn * 37 % 90), "urn:t", "", 0)
    return data, [*starts, len(data)]


def harm(data: bytes, how: str, at: int, dice: random.Random) -> tuple[bytes, int]:
    """The damaged bytes and the end of the damage."""
    if how == "bits flipped":
        spoilt = bytearray(data)
        spoilt[at] ^= 1 << dice.randrange(8)
        return bytes(spoilt), at + 1
    if how == "zeros":
        size = dice.choice((16, 100, 512))
        return (data[:at] + bytes(size) + data[at + size :])[: len(data)], min(at + size, len(data))
    if how == "a sector of zeros":
        at -= at % 512
        return (data[:at] + bytes(512) + data[at + 512 :])[: len(data)], min(at + 512, len(data))
    return data[:at], len(data)


def main() -> None:
    dice, folder = random.Random(7), Path(tempfile.mkdtemp())
    print("| synced | damaged | how | called a tear today | with marks |\n|---|---|---|---|---|")
    for every in (1, 10):
        data, starts = segment(every)
        for where in ("before the last sync", "the last sync's bytes"):
            low, high = (starts[0], starts[-2]) if where.startswith("before") else (starts[-2], starts[-1])
            for how in ("bits flipped", "zeros", "a sector of zeros", "cut"):
                counts: Counter[str] = Counter()
                for _ in range(TRIALS):
                    spoilt, end = harm(data, how, dice.randrange(low, high), dice)
                    (folder / "wal-1.v1").write_bytes(spoilt)
                    check = check_segment(list_segments(folder)[0])
                    today = check.tear or not check.faults
                    # The first drain that is whole begins with a mark that tells of all before it.
                    marked = how != "cut" and any(start >= end for start, _ in pairwise(starts))
                    counts["today"] += today
                    counts["marks"] += today and not marked
                today, marks = (f"{100 * counts[key] / TRIALS:.1f} %" for key in ("today", "marks"))
                print(f"| every {every} | {where} | {how} | {today} | {marks} |")
        size = len(data)
        print(
            f"\nmarks of {MARK} bytes add {100 * MARK * (len(starts) - 1) / size:.1f} % of {size} bytes\n",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
