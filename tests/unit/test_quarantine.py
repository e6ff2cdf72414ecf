"""What is kept in the quarantine: under which name, once, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import mint, plain, put

from walcore.quarantine import keep, lsns
from walcore.segments import Directory


def test_the_same_bytes_are_quarantined_once_and_others_beside_them(tmp_path: Path) -> None:
    put(tmp_path, wal_1=b"0123456789")
    with Directory(tmp_path) as directory:
        first = keep(directory, "wal-1.v1", 2, 6, 17)
        assert first == "quarantine/wal-1.v1.2-6.lsn17"
        assert (tmp_path / first).read_bytes() == b"2345"
        assert keep(directory, "wal-1.v1", 2, 6, 17) == first
        put(tmp_path, wal_1=b"abcdefghij")
        assert keep(directory, "wal-1.v1", 2, 6, 17) == first + ".2"
        with pytest.raises(OSError, match="file ended at 10, 12 bytes were expected"):
            keep(directory, "wal-1.v1", 2, 12, 17)
    assert len(list((tmp_path / "quarantine").iterdir())) == 2


def test_a_quarantine_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "wal", wal_1=b"0123456789")
    (tmp_path / "outside").mkdir()
    (tmp_path / "wal" / "quarantine").symlink_to(tmp_path / "outside")
    with Directory(tmp_path / "wal") as directory, pytest.raises(OSError, match="quarantine"):
        keep(directory, "wal-1.v1", 0, 5, 0)
    assert not list((tmp_path / "outside").iterdir())


def test_the_lsns_of_copies_are_in_their_names_and_those_of_other_segments_are_read(tmp_path: Path) -> None:
    put(tmp_path, wal_1=b"0123456789")
    with Directory(tmp_path) as directory:
        assert list(lsns(directory)) == []
        assert not (tmp_path / "quarantine").exists()
        for lsn in (17, 3, 0):
            keep(directory, "wal-1.v1", 2, 6, lsn)
        put(tmp_path, wal_1=b"abcdefghij")
        keep(directory, "wal-1.v1", 2, 6, 17)
        put(tmp_path / "quarantine", wal_7=plain(7, [30])[:-1] + b"x" + mint(40))
        (tmp_path / "quarantine" / "notes.txt").write_text("what an operator wrote down")
        (tmp_path / "quarantine" / "wal-8.v1").mkdir()
        half = tmp_path / "quarantine" / "wal-1.v1.2-6.lsn99.walcore-tmp"
        half.touch()
        assert set(lsns(directory)) == {0, 3, 17, 40}
        assert not half.exists()
