"""What repair takes as arguments, refuses beforehand, and knows of LSNs; tests/crash/test_damage.py has the damage."""

from __future__ import annotations

from pathlib import Path

import folders
import oracle

import walcore

FIRST = folders.plain(1, range(1, 6))


def test_an_lsn_behind_a_tear_that_goes_aside_is_not_handed_out_again(tmp_path: Path) -> None:
    torn = FIRST + bytes(600) + folders.mint(1000)
    wal = folders.put(tmp_path / "wal", wal_1=torn, wal_1_gz=folders.sealed(FIRST, 5))
    walcore.repair(wal).apply()
    assert len(list(walcore.read(wal, mode="STRICT"))) == 5
    with walcore.open(wal) as log:
        assert log.log_mint(6, "I", "urn:6") == 1001


def test_a_loss_that_reaches_into_the_open_end_keeps_its_beginning(tmp_path: Path) -> None:
    """Two damaged files have number 1.  The one that counts ends between 301 and 399; the other says 300 to 499."""
    counts = folders.sealed(folders.plain(1, range(1, 400)), 399)[:-100]
    other = b"".join(folders.mint(lsn, f"urn:other:{lsn}") for lsn in range(300, 500))
    other = folders.sealed(oracle.header_frame(folders.STORE, 0, 1, 300) + other, 499)[:-4]
    wal = folders.put(tmp_path / "wal", wal_1_gz=counts, wal_300_gz=other)
    plan = walcore.repair(wal)
    (first, last), (tail, end) = plan.lost
    assert (first, last, end) == (300, tail - 1, None)
    assert 301 < tail <= 400
