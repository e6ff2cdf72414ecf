"""Threads that do everything at once with one log, by seed: python tests/sanitize/stress.py SECONDS SEED...

For a sanitizer to watch; a log that then reads back with a hole, or a thread that hangs, fails as well.
"""

from __future__ import annotations

import faulthandler
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import walcore

PATIENCE = 120


class Crowd:
    """The log of one seed, and what its threads do to it."""

    def __init__(self, seed: int, seconds: float, directory: str) -> None:
        chance = random.Random(seed)
        self.seed, self.directory = seed, directory
        self.purges = seed % 3 == 0
        self.until = time.monotonic() + seconds
        self.closes_at = seconds * chance.choice([0.7, 1.1])
        self.threads = chance.choice([2, 8, 24])
        self.errors: list[BaseException] = []
        self.wal = walcore.open(
            directory,
            sync_policy=chance.choice(["COMMIT", "ALWAYS", "INTERVAL"]),
            sync_interval=0.01,
            max_segment_bytes=chance.choice([4096, 1 << 16, 1 << 20]),
            batch_buffer_bytes=chance.choice([4097, 16384, 1 << 20]),
            buffer_timeout=chance.choice([None, 30]),
            on_force=chance.choice([None, lambda _: None]),
        )

    def work(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        try:
            while time.monotonic() < self.until:
                self.step(chance)
        except walcore.WalClosedError:
            pass
        except BaseException as error:
            self.errors.append(error)

    def step(self, chance: random.Random) -> None:
        wal = self.wal
        steps: list[tuple[float, Callable[[], Any]]] = [
            (45, lambda: wal.log_mint(chance.randrange(-5, 1 << 20), "I", "x" * chance.choice([1, 30, 300]))),
            (15, lambda: wal.log_mint_many([(1, "L", "y" * chance.choice([1, 100, 6000]))] * chance.randrange(60))),
            (15, wal.commit),
            (10, lambda: self.wait(chance)),
            (5, wal.flush),
            (2, wal.rotate),
            (0.5 if self.purges else 0, wal.purge_all_segments),
            (8, lambda: (wal.stats(), repr(wal), wal.durable_lsn)),
        ]
        chance.choices([call for _, call in steps], [weight for weight, _ in steps])[0]()

    def wait(self, chance: random.Random) -> None:
        try:
            if lsn := self.wal.last_lsn:
                self.wal.await_durable(lsn, chance.choice([None, 0.0, 0.001, 1]))
        except walcore.WalTimeoutError:
            pass

    def run(self) -> str:
        """What came of it: "ok", or what is wrong."""
        threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(self.threads)]
        for thread in threads:
            thread.start()
        time.sleep(self.closes_at)
        closer = threading.Thread(target=self.wal.close, daemon=True)
        closer.start()
        deadline = time.monotonic() + PATIENCE
        for thread in (*threads, closer):
            thread.join(max(0, deadline - time.monotonic()))
            if thread.is_alive():
                faulthandler.dump_traceback(all_threads=True)
                return "a thread hangs"
        if self.errors:
            return repr(self.errors)
        reader = walcore.read(self.directory)
        lsns = [record.lsn for record in reader]
        first = lsns[0] if self.purges and lsns else 1
        whole = list(range(first, self.wal.last_lsn + 1)) if lsns else []
        return "ok" if lsns == whole and reader.report.complete else f"a hole: {reader.report}"


def main() -> None:
    seconds, seeds = float(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    failed = 0
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="walcore-stress-", ignore_cleanup_errors=True) as folder:
            crowd = Crowd(seed, seconds, folder + "/wal")
            told = crowd.run()
        failed += told != "ok"
        print(f"stress seed {seed}: {crowd.threads} threads, {crowd.wal.last_lsn} records, {told}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
