"""probes.py QUESTION SCALE FOLDER: what isn't a rate, each in a process of its own, printed as a number.

Start-up is the exception: it starts the processes that it times.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path
from statistics import median

from parameters import SCALES, XSD_STRING, Parameters
from records import value


def peak_memory() -> float:
    """MiB that this process held at most: VmHWM, since ru_maxrss is inherited from the parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def memory(folder: Path, p: Parameters) -> tuple[float, float]:
    """MiB that a load adds to a process with walcore in it: after a quarter of the bytes, and after all of them."""
    import walcore

    # Few enough values that the program itself holds no list that grows.
    values = [value(number, p.load_lexical_chars) for number in range(4096)]
    ids, bare = count(1), peak_memory()
    # A quarter is two segments: sealing, which has its own buffers, has been at work by then.
    with walcore.open(folder, max_segment_bytes=p.load_bytes // 8) as wal:

        def load(frames: int) -> float:
            while wal.stats().bytes_written < frames:
                for lexical, id in zip(values, ids, strict=False):
                    wal.log_mint(id, "L", lexical, XSD_STRING, "", 1)
            wal.commit()
            while wal.stats().seal_backlog:
                time.sleep(0.01)
            return peak_memory() - bare

        return load(p.load_bytes // 4), load(p.load_bytes)


def idle(folder: Path, _: Parameters) -> int:
    """How often the log's threads got onto a processor in a second in which nothing was logged.

    A thread that never did made no system call and took no time.
    """
    import walcore

    with walcore.open(folder, sync_policy="INTERVAL", sync_interval=0.05) as wal:
        wal.await_durable(wal.log_mint(1, "I", "urn:x"))
        wal.rotate()
        time.sleep(0.5)
        before = _timeslices()
        time.sleep(1)
        return _timeslices() - before


def _timeslices() -> int:
    threads = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("walcore")]
    assert threads
    return sum(int(Path(f"/proc/self/task/{id}/schedstat").read_text().split()[2]) for id in threads)


def import_seconds(rounds: int) -> float:
    """What `import walcore` takes above the interpreter's own start, in seconds."""
    pairs = [(_start("-c", "import walcore"), _start("-c", "pass")) for _ in range(rounds)]
    return median(ours - bare for ours, bare in pairs)


def help_seconds(rounds: int) -> float:
    """What `walcore --help` takes, the interpreter's start included, in seconds."""
    return median(_start("-m", "walcore", "--help") for _ in range(rounds))


def _start(*arguments: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-P", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


if __name__ == "__main__":
    question, scale, path = sys.argv[1:]
    if question == "memory":
        print(*memory(Path(path), SCALES[scale]))
    else:
        print(idle(Path(path), SCALES[scale]))
