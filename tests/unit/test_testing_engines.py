"""Storage engines on the watched disk: one that is right passes hundreds of power cuts, each planted bug is caught."""

from __future__ import annotations

import errno
import json
import os
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

import walcore
from walcore.testing import Disk, PowerCut

SAVED, NEW = "saved.json", "saved.new"


class Engine:
    """A dict with walcore as its log and a file of all that is in it; `bug` is what it does wrong."""

    def __init__(self, folder: Path, bug: str = "") -> None:
        self.folder, self.bug = folder, bug
        self.values: dict[int, str] = {}
        if (folder / SAVED).exists():
            self.values = {int(id): text for id, text in json.loads((folder / SAVED).read_text()).items()}
        self.log = walcore.open(folder / "wal", max_segment_bytes=1024)
        self.values |= {id: record.lexical for id, record in walcore.recover(folder / "wal").records.items()}

    def put(self, id: int, text: str) -> None:
        self.log.log_mint(id, "L", text)
        self.values[id] = text

    def commit(self) -> None:
        if self.bug == "flushes only":
            self.log.flush()
        else:
            self.log.commit()

    def save(self) -> None:
        """All into the file, then the log is emptied."""
        self.log.commit()
        if self.bug == "purges first":
            self.log.purge_all_segments()
        target = self.folder / (SAVED if self.bug == "saves in place" else NEW)
        with target.open("w") as file:
            json.dump(self.values, file)
            file.flush()
            if self.bug != "saves without a sync":
                with suppress(OSError if self.bug == "tries a failed sync again" else ()):
                    os.fsync(file.fileno())
                os.fsync(file.fileno())
        if target.name == NEW:
            target.rename(self.folder / SAVED)
        if self.bug != "doesn't sync its folder":
            fd = os.open(self.folder, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        if self.bug != "purges first":
            self.log.purge_all_segments()

    def close(self) -> None:
        self.log.close()


def work(disk: Disk, bug: str) -> None:
    """Twenty-four values, committed in twos and saved twice; notes how many are promised."""
    with closing(Engine(disk.path, bug)) as engine:
        for id in range(1, 25):
            engine.put(id, f"value {id} " + "x" * 5 * id)
            if id % 2 == 0:
                if bug == "acknowledges early":
                    disk.note(id)
                engine.commit()
                disk.note(id)
            if id % 10 == 0:
                if bug == "tries a failed sync again":
                    disk.fault("fsync", errno.EIO, name=NEW)
                engine.save()


def recovers(cut: PowerCut) -> None:
    with closing(Engine(cut.path)) as found:
        assert all(text.startswith(f"value {id} ") for id, text in found.values.items())
        assert set(found.values) >= set(range(1, max(cut.notes, default=0) + 1))
        found.put(99, "value 99 ")
        found.commit()
    with closing(Engine(cut.path)) as found:
        assert 99 in found.values


def test_an_engine_that_is_right_passes_five_hundred_power_cuts(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        work(disk, "")
    assert disk.try_power_cuts(tmp_path / "cuts", recovers, seeds=range(24)) >= 500


@pytest.mark.parametrize(
    "bug",
    [
        "acknowledges early",
        "flushes only",
        "purges first",
        "saves in place",
        "saves without a sync",
        "tries a failed sync again",
        "doesn't sync its folder",
    ],
)
def test_an_engine_with_a_bug_is_caught(tmp_path: Path, bug: str) -> None:
    with Disk(tmp_path / "d") as disk:
        work(disk, bug)
    with pytest.raises((AssertionError, ValueError)) as caught:
        disk.try_power_cuts(tmp_path / "cuts", recovers)
    assert "again: disk.power_cut(into, seed=" in caught.value.__notes__[0]


def test_several_logs_are_cut_off_at_the_same_moment(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        logs = [walcore.open(disk.path / name) for name in ("a", "b", "c")]
        for id in range(12):
            log = logs[id % 3]
            log.commit(log.log_mint(id, "I", f"urn:{id}"))
            disk.note(id)
        for log in logs:
            log.close()

    def all_recover(cut: PowerCut) -> None:
        found: set[int] = set()
        for path in cut.path.iterdir():
            walcore.open(path).close()
            found |= walcore.recover(path).records.keys()
        assert found >= set(cut.notes)

    points = range(0, len(disk.journal), 3)
    assert disk.try_power_cuts(tmp_path / "cuts", all_recover, points=points) > 50


@pytest.mark.parametrize("seed", range(6))
def test_threads_that_commit_while_faults_strike_are_never_told_a_lie(tmp_path: Path, seed: int) -> None:
    """Each notes what commit returned for; the disk is slow, stops short, and fails for good in the middle."""
    with Disk(tmp_path / "d", seed=seed) as disk:
        wal = walcore.open(disk.path / "wal", max_segment_bytes=4096, batch_buffer_bytes=8192)
        disk.fault("write", short=33, chance=0.3, times=None)
        disk.slow(0.001, "fdatasync")
        disk.fault(("write", "fdatasync", "link", "fsync", "open", "unlink")[seed], errno.EIO, nth=25, times=None)

        def produce(first: int) -> None:
            with suppress(walcore.WalError, OSError):
                for id in range(first, first + 60):
                    wal.commit(wal.log_mint(id, "L", "x" * (id % 90)))
                    disk.note(id)

        threads = [threading.Thread(target=produce, args=(first,)) for first in range(0, 400, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        disk.faults.clear()
        with suppress(walcore.WalError, OSError):
            wal.close()
    assert disk.notes
    states = 0
    end = len(disk.journal)
    for cut in disk.power_cuts(tmp_path / "cuts", points=range(0, end + 1, max(1, end // 8)), seeds=range(8)):
        if (cut.path / "wal").exists():
            walcore.open(cut.path / "wal").close()
            assert set(cut.notes) <= walcore.recover(cut.path / "wal").records.keys(), cut
        states += 1
    assert states > 8
