"""A real disk gets full and gets room again: nothing promised is lost, and work goes on without reopening."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import mounts
import player
import pytest
import witness
from tally import Tally
from together import together

import walcore

PLACES = {"tmpfs": lambda place: mounts.tmpfs(place, "4m"), "ext4": lambda place: mounts.image(place, "ext4", 8 << 20)}
CYCLES_OF_A_LOG = 10
THREADS = 4


def fill(mount: mounts.Mount, leave: int) -> Path:
    """Put a file in the way that leaves so many bytes."""
    ballast = mount.place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
        os.fsync(file.fileno())
        file.truncate(max(0, file.tell() - leave))
    return ballast


class Crowd:
    """Threads that log until the disk is full, and then wait until what they logged is on disk."""

    def __init__(self, wal: walcore.Wal, first_id: int) -> None:
        self.wal, self.next_id = wal, first_id
        self.mutex = threading.Lock()
        self.acked: dict[int, int] = {}
        self.logged: dict[int, int] = {}
        self.unsure: set[int] = set()
        self.problems: list[str] = []

    def work(self) -> None:
        try:
            while True:
                with self.mutex:
                    id, self.next_id = self.next_id, self.next_id + 1
                    self.unsure.add(id)
                lsn = self.wal.log_mint(*player.fields(id))
                with self.mutex:
                    self.logged[lsn] = id
                self.wal.await_durable(lsn)
                with self.mutex:
                    self.acked[lsn] = id
        except walcore.WalFullError as error:
            if not isinstance(error.__cause__, OSError) or "free some room" not in str(error):
                self.problems.append(repr(error))
        except BaseException as error:
            self.problems.append(repr(error))


def fill_and_free(mount: mounts.Mount, cycles: range) -> int:
    """One log on a disk that gets full and free so often; returns how many records were promised."""
    directory = mount.place / f"log-{cycles.start}"
    policy = ("COMMIT", "ALWAYS", "INTERVAL")[cycles.start // CYCLES_OF_A_LOG % 3]
    with walcore.open(directory, sync_policy=policy, **player.SETTINGS) as wal:
        crowd = Crowd(wal, 1)
        for number in cycles:
            ballast = fill(mount, random.Random(f"full {number}").randrange(200_000))
            together([crowd.work] * THREADS, 60)
            assert crowd.problems == [], f"cycle {number}"
            assert wal.stats().state == "open"
            ballast.unlink()
            assert wal.commit() <= wal.last_lsn
            wal.await_durable(wal.last_lsn)
            crowd.acked |= crowd.logged
            promises = witness.Promises([], [])
            promises.acked, promises.logged = crowd.acked, crowd.unsure
            assert promises.judge(witness.read(directory)) is None, f"cycle {number}"
    with walcore.open(directory, create=False) as wal:
        assert wal.opening.faults == ()
    recovered = walcore.recover(directory)
    assert recovered.report.complete
    assert recovered.report.records == recovered.report.last_lsn, "an LSN was skipped"
    assert promises.judge(witness.read(directory)) is None
    for path in directory.iterdir():
        if path.is_file():
            path.unlink()
    return len(crowd.acked)


@pytest.mark.parametrize("kind", PLACES)
def test_a_disk_that_gets_room_again_is_gone_on_with(tmp_path: Path, kind: str) -> None:
    tally = Tally(f"full {kind}")
    with PLACES[kind](tmp_path / kind) as mount:
        for numbers in tally.numbers(CYCLES_OF_A_LOG, 500, CYCLES_OF_A_LOG):
            tally.more += fill_and_free(mount, numbers)
    print(
        f"{kind}: {tally.done} times full and free again, {tally.more} promised records, 0 lost, 0 logs reopened for it"
    )
    assert tally.more > 0
