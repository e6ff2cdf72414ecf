"""A file that is lengthened ahead of its records: what is in it meanwhile, and that nothing of it stays."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from folders import lsns

import walcore
from walcore.faults import FaultKind
from walcore.testing import Disk, PowerCut

AHEAD = 64 * 1024


def test_while_it_is_written_the_file_is_longer_and_is_cut_back_on_close(tmp_path: Path) -> None:
    sizes = {}
    for ahead in (0, AHEAD):
        with walcore.open(tmp_path / f"wal{ahead}", store_uuid="0" * 32, preallocate_bytes=ahead) as wal:
            for id in range(1, 4):
                wal.commit(wal.log_mint(id, "I", "x"))
                assert [record.lsn for record in walcore.read(wal.path)] == list(range(1, id + 1))
            sizes[ahead] = (wal.path / "wal-1.v1").stat().st_size
            written = (wal.path / "wal-1.v1").read_bytes()
            assert written[sizes[0] :] == bytes(sizes[ahead] - sizes[0])
        assert (wal.path / "wal-1.v1").stat().st_size == sizes[0]
    assert AHEAD - sizes[0] < sizes[AHEAD] - sizes[0] < AHEAD


def test_room_is_allocated_again_where_it_runs_out_and_not_for_each_write(tmp_path: Path) -> None:
    with Disk(tmp_path / "wal") as disk, walcore.open(tmp_path / "wal", preallocate_bytes=AHEAD) as wal:
        for id in range(200):
            wal.commit(wal.log_mint(id, "I", "x" * 1000))
        assert 3 <= disk.count("ftruncate", name="wal-*") <= 5
    assert lsns(tmp_path / "wal") == list(range(1, 201))


def test_no_segment_is_made_longer_than_it_may_be(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal", preallocate_bytes=AHEAD, max_segment_bytes=4000) as wal:
        for id in range(1, 60):
            wal.commit(wal.log_mint(id, "I", "x" * 100))
            assert (wal.path / str(wal.stats().segment)).stat().st_size <= 4000
        wal.commit(wal.log_mint(60, "I", "x" * 10_000))
    assert lsns(tmp_path / "wal") == list(range(1, 61))


def test_a_finished_segment_has_no_zeros_and_is_sealed(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal", preallocate_bytes=AHEAD) as wal:
        for id in range(1, 4):
            wal.log_mint(id, "I", "x")
            wal.rotate()
    assert sorted(path.name for path in wal.path.glob("wal-*")) == [f"wal-{id}.v1.gz" for id in (1, 2, 3)]
    assert lsns(wal.path) == [1, 2, 3]


KILLED = """
import os, signal, sys, walcore
wal = walcore.open(sys.argv[1], preallocate_bytes=65536)
for id in range(1, 4): wal.commit(wal.log_mint(id, "I", "x"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_the_zeros_are_a_torn_tail_that_opening_cuts_and_keeps_no_copy_of(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "wal"], check=False)
    assert killed.returncode == -signal.SIGKILL
    path = tmp_path / "wal" / "wal-1.v1"
    longer = path.stat().st_size
    reader = walcore.Reader(tmp_path / "wal")
    assert [record.lsn for record in reader] == [1, 2, 3]
    assert [fault.kind for fault in reader.report.faults] == [FaultKind.TORN_TAIL]
    with walcore.open(tmp_path / "wal") as wal:
        (cut,) = wal.opening.cut
        assert (cut.segment, cut.copy, cut.reason) == ("wal-1.v1", None, "nothing but zeros")
        assert path.stat().st_size == cut.offset == longer - cut.size
        assert not (wal.path / "quarantine").exists()
        assert wal.log_mint(4, "I", "x") == 4
    assert lsns(tmp_path / "wal") == [1, 2, 3, 4]


def test_a_torn_frame_before_the_zeros_still_goes_to_the_quarantine(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "wal"], check=False)
    path = tmp_path / "wal" / "wal-1.v1"
    end = len(path.read_bytes().rstrip(b"\0")) + 3
    with path.open("r+b") as file:
        file.seek(end)
        file.write(b'\x50\0\0\0{"t":"M"')
    with walcore.open(tmp_path / "wal") as wal:
        (cut,) = wal.opening.cut
        assert cut.copy
        assert (wal.path / cut.copy).read_bytes().rstrip(b"\0").endswith(b'{"t":"M"')


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.ENOSPC, errno.EINTR])
def test_where_nothing_can_be_allocated_the_log_goes_on_without(tmp_path: Path, error: int) -> None:
    with Disk(tmp_path / "wal") as disk:
        disk.fault("ftruncate", error, times=2, name="wal-*")
        with walcore.open(tmp_path / "wal", preallocate_bytes=AHEAD) as wal:
            for id in range(1, 4):
                wal.commit(wal.log_mint(id, "I", "x"))
        assert disk.count("ftruncate", name="wal-*") == (4 if error == errno.EINTR else 1)
    assert lsns(tmp_path / "wal") == [1, 2, 3]


@pytest.mark.parametrize("call", ["ftruncate", "fsync"])
def test_a_segment_that_cannot_be_cut_back_fails_the_log_and_loses_nothing(tmp_path: Path, call: str) -> None:
    with Disk(tmp_path / "wal") as disk:
        wal = walcore.open(tmp_path / "wal", preallocate_bytes=AHEAD)
        wal.commit(wal.log_mint(1, "I", "x"))
        disk.fault(call, errno.EIO, name="wal-1.v1")
        with pytest.raises(walcore.WalFailedError, match=f"{call} of .*wal-1.v1"):
            wal.rotate()
        with pytest.raises(walcore.WalFailedError):
            wal.close()
        assert disk.count("fsync", name="wal-1.v1") == (call == "fsync")
    with walcore.open(tmp_path / "wal") as wal:
        assert wal.log_mint(2, "I", "x") == 2
    assert lsns(tmp_path / "wal") == [1, 2]


def test_power_cuts_lose_nothing_that_was_promised(tmp_path: Path) -> None:
    with Disk(tmp_path / "wal") as disk:
        wal = walcore.open(tmp_path / "wal", preallocate_bytes=500, max_segment_bytes=1500)
        for id in range(1, 10):
            disk.note(wal.commit(wal.log_mint(id, "I", "x" * (id % 7) * 40)))
            if id % 4 == 0:
                wal.rotate()
        wal.close()

    def recovers(cut: PowerCut) -> None:
        promised = max(cut.notes, default=0)
        with walcore.open(cut.path, preallocate_bytes=500) as again:
            assert again.last_lsn >= promised
            assert not again.opening.faults
            last = again.commit(again.log_mint(1, "I", "again"))
        assert set(range(1, promised + 1)) | {last} <= set(lsns(cut.path))
        reader = walcore.Reader(cut.path)
        assert all(record.lexical == "x" * (record.id % 7) * 40 for record in reader if record.lsn != last)
        assert not reader.report.faults

    assert disk.try_power_cuts(tmp_path / "cuts", recovers, seeds=range(6)) > 100


@pytest.mark.skipif(sys.platform != "linux", reason="fallocate is Linux's")
def test_what_was_allocated_has_its_place_on_the_disk(tmp_path: Path) -> None:
    with walcore.open(tmp_path / "wal", preallocate_bytes=16 * AHEAD) as wal:
        wal.commit(wal.log_mint(1, "I", "x"))
        status = (wal.path / "wal-1.v1").stat()
        assert status.st_blocks * 512 >= 16 * AHEAD
