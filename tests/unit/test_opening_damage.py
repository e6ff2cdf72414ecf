"""Opening on tears, corruption and files without a header: nothing is cut or moved away without a copy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import folders
import pytest
from folders import mint, plain, put, sealed, tree
from openings import close_cleanly, reopen

from walcore import system
from walcore.faults import FaultKind

# -- tears and corruption ---------------------------------------------------------------------------------------------


TEARS: dict[str, bytes] = {
    "half a length": b"\x50\x00",
    "half a frame": mint(3)[:-7],
    "zeros": bytes(4096),
    "a lost page between frames": mint(3)[:20] + bytes(600) + mint(4),
    "garbage": os.urandom(300).replace(b"\0", b"x"),
}


@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS.keys())
def test_a_tear_is_cut_and_kept_in_quarantine_but_for_zeros(tmp_path: Path, tear: bytes) -> None:
    whole = plain(1, [1, 2])
    put(tmp_path, wal_1=whole + tear)
    inode = (tmp_path / "wal-1.v1").stat().st_ino
    opening = reopen(tmp_path)
    lsn = 4 if mint(4) in tear else 2
    (cut,) = opening.cut
    assert (cut.segment, cut.offset, cut.size) == ("wal-1.v1", len(whole), len(tear))
    assert (cut.lsn_before, cut.lsn_highest) == (2, lsn)
    files = tree(tmp_path)
    assert files["wal-1.v1"] == whole
    if any(tear):
        assert cut.copy == f"quarantine/wal-1.v1.{len(whole)}-{len(whole) + len(tear)}.lsn{lsn}"
        assert files[cut.copy] == tear
    else:
        assert cut.copy is None
        assert "quarantine" not in files
    assert (tmp_path / "wal-1.v1").stat().st_ino != inode
    assert (opening.next_lsn, opening.faults) == (lsn + 1, ())
    assert [(s.size, s.inode) for s in opening.to_seal] == [(len(whole), (tmp_path / "wal-1.v1").stat().st_ino)]
    again = reopen(tmp_path)
    assert (again.scanned, again.next_lsn, again.to_seal) == ((), lsn + 1, opening.to_seal)


def test_lsns_in_quarantine_are_not_given_out_again_though_the_state_is_lost(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]) + bytes(16) + mint(9))
    assert reopen(tmp_path).next_lsn == 10
    (tmp_path / "walcore.state").unlink()
    assert reopen(tmp_path).next_lsn == 10
    (tmp_path / "walcore.state").unlink()
    (tmp_path / "quarantine" / "wal-7.v1").write_bytes(plain(7, [30])[:-1] + b"x" + mint(40))
    (tmp_path / "quarantine" / "notes.txt").write_text("what an operator wrote down")
    (tmp_path / "quarantine" / "wal-8.v1").mkdir()
    assert reopen(tmp_path).next_lsn == 41


def test_what_else_lies_in_the_quarantine_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]))
    folder = tmp_path / "quarantine"
    folder.mkdir()
    (folder / "notes.txt").write_bytes(b"wal-7.v1 had LSN 30")
    (folder / "wal-7.v1").mkdir()
    (folder / "wal-8.v1").symlink_to(tmp_path / "wal-1.v1")
    os.mkfifo(folder / "wal-9.v1")
    (folder / "wal-6.v1").write_bytes(plain(6, [20]))
    assert reopen(tmp_path).next_lsn == 21


def test_corruption_is_copied_as_it_is_and_reported(tmp_path: Path) -> None:
    content = plain(1, [1]) + mint(2)[:-1] + b"~" + mint(3) + mint(4)[:-2]
    put(tmp_path, wal_1=content)
    opening = reopen(tmp_path)
    assert tree(tmp_path)["wal-1.v1"] == content
    assert not opening.cut
    assert not opening.to_seal
    assert opening.faults[0].kind == FaultKind.CORRUPT_FRAME
    assert opening.next_lsn == 4


def test_what_the_state_vouches_for_is_never_cut(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]), wal_2=plain(2, [3]))
    close_cleanly(tmp_path, 3)
    torn = plain(1, [1, 2])[:-30]
    put(tmp_path, wal_1=torn)
    opening = reopen(tmp_path)
    assert (opening.cut, tree(tmp_path)["wal-1.v1"]) == ((), torn)


def test_whole_frames_are_copied_so_that_they_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]))
    (tmp_path / "wal-1.v1").chmod(0o604)
    inode = (tmp_path / "wal-1.v1").stat().st_ino
    with folders.failing(monkeypatch, 0, folders.Killed, for_ever=False) as calls:
        reopen(tmp_path)
    written = ["open", "write", "fdatasync", "rename", "fsync"]
    assert [c for c in calls if c != "fchmod"] == ["fsync", *written, "fsync", *written]
    status = (tmp_path / "wal-1.v1").stat()
    assert status.st_ino != inode
    assert status.st_mode & 0o777 == 0o604


def test_a_read_error_ends_the_opening_with_the_file_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, wal_1=plain(1, [1, 2]) + b"torn")
    before = tree(tmp_path)

    def fail(*_args: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(system.calls, "preadv", fail)
        with pytest.raises(OSError, match="Input/output"):
            reopen(tmp_path)
    assert tree(tmp_path) == before


# -- files without a header -------------------------------------------------------------------------------------------


def test_empty_files_and_torn_headers_go_to_quarantine(tmp_path: Path) -> None:
    odd = {"wal_2": b"", "wal_3": plain(3, [])[:50], "wal_4": bytes(512) + mint(7), "wal_5_gz": b""}
    odd |= {"wal_6_gz": sealed(plain(6, [9]), 9)[:15], "wal_7_gz": bytes(900)}
    put(tmp_path, wal_1=plain(1, [1]), **odd)
    opening = reopen(tmp_path)
    moved = {removed.segment: removed for removed in opening.quarantined}
    assert sorted(moved) == ["wal-2.v1", "wal-3.v1", "wal-4.v1", "wal-5.v1.gz", "wal-6.v1.gz", "wal-7.v1.gz"]
    files = tree(tmp_path)
    assert [name for name in files if name.startswith("wal-")] == ["wal-1.v1"]
    assert files[moved["wal-4.v1"].copy or ""] == odd["wal_4"]
    for name, removed in moved.items():
        assert (removed.offset, removed.size) == (
            0,
            len(odd[name.replace("-", "_").replace(".v1", "").replace(".", "_")]),
        )
        # Nothing of a whole file stays, and its highest LSN isn't given out again.
        assert (removed.lsn_before, removed.lsn_highest) == (0, 7 if name == "wal-4.v1" else 0)
    assert (opening.next_lsn, opening.next_number) == (8, 2)


def test_a_damaged_header_with_frames_behind_it_stays_and_is_reported(tmp_path: Path) -> None:
    content = bytearray(plain(2, [2, 3]))
    content[30] ^= 1
    put(tmp_path, wal_1=plain(1, [1]), wal_2=bytes(content), wal_3_gz=b"not gzip")
    opening = reopen(tmp_path)
    assert {f.segment: f.kind for f in opening.faults} == {
        "wal-2.v1": FaultKind.UNREADABLE_SEGMENT,
        "wal-3.v1.gz": FaultKind.UNREADABLE_SEGMENT,
    }
    assert tree(tmp_path)["wal-2.v1"] == content
    assert opening.next_lsn == 4
    assert [s.name for s in opening.to_seal] == ["wal-1.v1"]


def test_what_is_no_regular_file_is_left_alone_and_reported(tmp_path: Path) -> None:
    path = put(tmp_path / "wal", wal_1=plain(1, [1]))
    (tmp_path / "outside").write_bytes(b"")
    (path / "wal-2.v1").symlink_to(tmp_path / "outside")
    os.mkfifo(path / "wal-3.v1")
    (path / "wal-1.v1.gz").symlink_to(tmp_path / "outside")
    opening = reopen(path)
    link = "a symbolic link, not a regular file"
    details = {"wal-1.v1.gz": link, "wal-2.v1": link, "wal-3.v1": "a FIFO, not a regular file"}
    assert {f.segment: f.detail for f in opening.faults} == details
    assert opening.quarantined == ()
    assert (path / "wal-2.v1").is_symlink()
    assert (path / "wal-3.v1").is_fifo()
