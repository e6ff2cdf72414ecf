"""raw_loop.py FRAMES FILE: what raw.c does, in Python."""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path


def split(frames: bytes) -> list[bytes]:
    """Each frame with its length in front and its checksum behind."""
    found, place = [], 0
    while place < len(frames):
        size = 4 + struct.unpack_from("<I", frames, place)[0] + 4
        found.append(frames[place : place + size])
        place += size
    return found


def main(source: str, target: str) -> None:
    first, *rest = split(Path(source).read_bytes())
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(fd, first)
    os.fdatasync(fd)
    begin = time.perf_counter()
    for frame in rest:
        os.write(fd, frame)
        os.fdatasync(fd)
    print(f"{time.perf_counter() - begin:.9f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
