"""The power goes while an engine runs or recovers, and the same state is made again."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import folders
import pytest
from moves import put, tumble

import walcore
from walcore.lock import is_locked
from walcore.testing import Disk, PowerCut, PowerOffError, standin

# -- the power goes ---------------------------------------------------------------------------------------------------


def test_after_a_crash_nothing_touches_the_files_and_the_lock_is_free(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        wal = walcore.open(disk.path / "wal")
        lsn = wal.log_mint(1, "I", "urn:a")
        wal.commit(lsn)
        wal.log_mint(2, "I", "urn:b")
        disk.crash()
        with pytest.raises(PowerOffError):
            (disk.path / "new").write_bytes(b"")
        with pytest.raises(PowerOffError):
            (disk.path / "wal").rename(disk.path / "away")
        with pytest.raises(walcore.WalFailedError):
            wal.commit()
        disk.note("nobody was there to promise")
        assert disk.notes == []
        cut = disk.power_cut(tmp_path / "cut")
    assert not is_locked(disk.path / "wal")
    before = folders.tree(disk.path)
    with pytest.raises(walcore.WalFailedError):
        wal.close()
    del wal
    assert folders.tree(disk.path) == before
    assert [record.lsn for record in walcore.read(cut.path / "wal")] == [1]
    with walcore.open(disk.path / "wal") as again:
        assert again.last_lsn == 1


def test_a_crashed_log_that_is_idle_can_be_closed_and_dropped(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        wal = walcore.open(disk.path / "wal")
        wal.commit(wal.log_mint(1, "I", "urn:a"))
        before = folders.tree(disk.path)
        disk.crash()
        wal.close()
    assert folders.tree(disk.path) == before
    with walcore.open(disk.path / "wal") as again:
        assert again.last_lsn == 1


def test_the_power_goes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened since is left alone, even if it got the descriptor and the inode of a file that was watched."""
    (tmp_path / "b").touch()
    with Disk(tmp_path / "d") as disk:
        fd = os.open(disk.path / "a", os.O_WRONLY | os.O_CREAT)
        disk.crash()
        os.dup2(elsewhere := os.open(tmp_path / "b", os.O_WRONLY), fd)
        os.close(elsewhere)
        with monkeypatch.context() as patch:
            patch.setattr(standin, "still", lambda *_: True)
            disk.crash()
        assert standin.still(fd, standin.key_of((tmp_path / "b").stat()))
    os.close(fd)


def test_a_descriptor_that_was_closed_unseen_keeps_its_power(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    with Disk(tmp_path / "d") as disk:
        fds = [os.open(disk.path / name, os.O_WRONLY | os.O_CREAT) for name in "acd"]
        os.dup2(elsewhere := os.open(tmp_path / "b", os.O_WRONLY), fds[1])
        os.close(elsewhere)
        disk.crash()
        key = standin.key_of((tmp_path / "b").stat())
        assert [standin.still(fd, key) for fd in fds] == [False, True, False]
        assert [stat.S_ISCHR(os.fstat(fd).st_mode) for fd in fds] == [True, False, True]
    for fd in fds:
        os.close(fd)


def test_the_power_goes_at_the_nth_call(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        disk.fault("link", crash=True, nth=2)
        wal = walcore.open(disk.path / "wal", max_segment_bytes=1024)
        wal.commit(wal.log_mint(1, "L", "x" * 800))
        with pytest.raises(walcore.WalFailedError):
            wal.commit(wal.log_mint(2, "L", "x" * 800))
        assert disk.is_off
        with pytest.raises(walcore.WalFailedError):
            wal.close()
        disk.power_cut(tmp_path / "cut")
    assert [record.lsn for record in walcore.read(tmp_path / "cut" / "wal")] == [1]


def test_a_recovery_can_be_cut_off_too(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk, walcore.open(disk.path / "wal") as wal:
        wal.log_mint_many([(id, "I", f"urn:{id}") for id in range(1, 9)])
        wal.commit()
        disk.note(8)
        wal.log_mint(9, "L", "x" * 5000)
        wal.flush()
        first = disk.power_cut(tmp_path / "first", seed=3)
    with Disk(first.path) as recovery:
        walcore.open(first.path / "wal").close()

    def recovers(cut: PowerCut) -> None:
        path = cut.path / "wal"
        walcore.open(path).close()
        assert [record.lsn for record in walcore.read(path)][:8] == list(range(1, 9))

    assert recovery.try_power_cuts(tmp_path / "second", recovers) > 30


# -- the same again ---------------------------------------------------------------------------------------------------


def test_a_state_is_made_again_from_its_step_and_seed(tmp_path: Path) -> None:
    runs = []
    for name in ("one", "other"):
        with Disk(tmp_path / name) as disk:
            tumble(disk.path, random.Random(7), 60)
        runs.append(disk)
    tried, seen = 0, set()
    for cut in runs[0].power_cuts(tmp_path / "cuts", seeds=range(0, 30, 3)):
        below = sorted(str(path.relative_to(cut.path)) for path in cut.path.rglob("*/"))
        seen.add((*folders.tree(cut.path).items(), *below))
        again = runs[1].power_cut(tmp_path / "again" / cut.id, seed=cut.seed, at=cut.at)
        assert folders.tree(again.path) == folders.tree(cut.path)
        assert (again.after, again.kind, again.id) == (cut.after, cut.kind, cut.id)
        tried += 1
    assert tried == len(seen) > 100  # equal ones once


def test_a_failing_recovery_names_its_state_and_leaves_it(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"1")
        disk.note("a")

    def recovers(cut: PowerCut) -> None:
        assert not cut.notes

    with pytest.raises(AssertionError) as caught:
        disk.try_power_cuts(tmp_path / "cuts", recovers)
    (told,) = caught.value.__notes__
    assert told.startswith("power cut 3.0 (nothing that no sync covered) after note 'a'; left in ")
    assert (tmp_path / "cuts" / "3.0").is_dir()
    assert [path.name for path in (tmp_path / "cuts").iterdir()] == ["3.0"]


def test_a_power_cut_is_not_written_over_anything(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        disk.power_cut(tmp_path / "cut")
        (tmp_path / "cut" / "mine").touch()
        with pytest.raises(FileExistsError, match="isn't empty"):
            disk.power_cut(tmp_path / "cut")
