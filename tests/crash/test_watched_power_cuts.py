"""walcore's own promises on the disk of walcore.testing: a whole life of a log, cut off at every step.

The short form tries a thousand states; with WALCORE_LONG=1 it is fifty thousand, over workloads drawn by a seed. What
fails names the workload's seed, the step and the seed of the state: `work(disk, Random(seed))` and
`disk.power_cut(into, seed=..., at=...)` make it again.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
from tally import LONG

import walcore
from walcore.testing import Disk, PowerCut

STATES = 50_000 if LONG else 1_000


def settle(wal: walcore.Wal) -> None:
    """Wait for the sealer: a run takes the same steps each time."""
    while wal.stats().seal_backlog:
        time.sleep(0.001)


def work(disk: Disk, chance: Random) -> None:
    """A few openings of a log that mint, commit, rotate, purge.

    Notes are (greatest LSN promised, LSN up to which all was purged); a purge is noted before it begins, too.
    """
    promised = purged = 0
    for _ in range(chance.randrange(2, 5)):
        policy = chance.choice(list(walcore.SyncPolicy))
        with walcore.open(disk.path / "wal", max_segment_bytes=1024, sync_policy=policy) as wal:
            for _ in range(chance.randrange(4, 20)):
                lsn = wal.log_mint(wal.last_lsn + 1, "L", "x" * chance.randrange(200))
                step = chance.randrange(12)
                if step == 0:
                    wal.rotate()
                elif step == 1 and chance.random() < 0.4:
                    disk.note((promised, lsn))
                    wal.purge_all_segments()
                    purged = lsn
                elif step < 6:
                    wal.await_durable(lsn)
                else:
                    continue
                settle(wal)
                promised = lsn
                disk.note((promised, purged))
            promised = wal.last_lsn
        disk.note((promised, purged))


def recovers(cut: PowerCut) -> None:
    promised, purged = cut.notes[-1] if cut.notes else (0, 0)
    path = cut.path / "wal"
    with walcore.open(path) as wal:
        first = wal.log_mint(77, "I", "urn:new")
        assert first > promised
        wal.commit()
    found = {record.lsn: record for record in walcore.read(path, mode="STRICT")}
    old = {lsn: record for lsn, record in found.items() if lsn != first}
    assert found[first].lexical == "urn:new"
    assert all(record.id == lsn and set(record.lexical) <= {"x"} for lsn, record in old.items())
    assert set(range(purged + 1, promised + 1)) <= old.keys()
    assert sorted(old) == list(range(min(old, default=1), max(old, default=0) + 1))


def test_nothing_promised_is_lost_in_any_state_that_a_power_cut_leaves(tmp_path: Path) -> None:
    tried = seed = 0
    while tried < STATES:
        with Disk(tmp_path / f"disk-{seed}") as disk:
            work(disk, Random(seed))
        try:
            tried += disk.try_power_cuts(tmp_path / f"cuts-{seed}", recovers, seeds=range(9))
        except AssertionError as error:
            error.add_note(f"workload {seed}")
            raise
        seed += 1
    print(f"power cuts on the watched disk: {tried} states of {seed} workloads, 0 failures")


@pytest.mark.parametrize("first", range(2))
def test_nor_is_it_when_the_recovery_is_cut_off_as_well(tmp_path: Path, first: int) -> None:
    with Disk(tmp_path / "disk") as disk:
        work(disk, Random(100 + first))
    tried = 0
    points = range(first + 5, len(disk.journal), 1 if LONG else 60)
    for cut in disk.power_cuts(tmp_path / "cuts", seeds=(3, 8, 9), points=points):
        with Disk(cut.path) as again:
            walcore.open(cut.path / "wal").close()

        def recovers_after(second: PowerCut, notes: list[object] = cut.notes) -> None:
            recovers(PowerCut(second.path, second.at, second.seed, second.after, notes))

        tried += again.try_power_cuts(tmp_path / "again", recovers_after, seeds=(0, 2, 3, 8))
    assert tried > 50
    print(f"power cuts in a recovery: {tried} states, 0 failures")
