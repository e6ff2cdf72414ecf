"""Who may read a log: the permissions of all that is made, and of what is made of what was there."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import folders
import pytest
from folders import plain, put, sealed

import walcore
from walcore import files


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The widest, so that nothing is private by chance."""
    old = os.umask(0)
    yield
    os.umask(old)


def modes(wal: Path) -> dict[str, str]:
    return {
        str(path.relative_to(wal)): f"{stat.S_IMODE(path.stat().st_mode):o}" for path in sorted([wal, *wal.rglob("*")])
    }


def lead_a_life(wal: Path, file_mode: int | None) -> None:
    """Everything that a log can make: segments plain and sealed, lock, state, and a tear in the quarantine."""
    for cut in (3, 0):
        with walcore.open(wal, file_mode=file_mode) as log:
            log.log_mint(1, "I", "urn:1")
            log.rotate()
            log.log_mint(2, "I", "urn:2")
            log.commit()
        (wal / "walcore.state").unlink() if cut else None
        last = max(wal.glob("wal-*.v1"), key=lambda path: path.stat().st_mtime_ns, default=None)
        if cut and last:
            os.truncate(last, last.stat().st_size - cut)


@pytest.mark.parametrize(
    ("file_mode", "mask", "file", "folder"),
    [
        (None, 0, "640", "750"),
        (None, 0o077, "600", "700"),
        (None, 0o022, "640", "750"),
        (0o600, 0, "600", "700"),
        (0o660, 0o077, "660", "770"),
        (0o644, 0o077, "644", "755"),
    ],
)
def test_all_that_is_made_has_the_mode_asked_for(
    tmp_path: Path, file_mode: int | None, mask: int, file: str, folder: str
) -> None:
    os.umask(mask)
    wal = tmp_path / "wal"
    lead_a_life(wal, file_mode)
    found = modes(wal)
    assert {name for name in found if not name.startswith("wal-")} >= {".", "lock", "quarantine", "walcore.state"}
    assert any(name.endswith(".gz") for name in found)
    assert any(name.startswith("quarantine/") for name in found)
    assert {name: mode for name, mode in found.items() if mode != file} == {".": folder, "quarantine": folder}


def test_a_folder_and_a_lock_that_were_there_keep_theirs(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    (tmp_path / "lock").touch(0o666)
    walcore.open(tmp_path, file_mode=0o600).close()
    assert modes(tmp_path) == {".": "711", "lock": "666"}


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_what_is_made_of_a_segment_has_its_mode(tmp_path: Path, mode: int) -> None:
    torn, whole = plain(2, [2, 3]), plain(1, [1])
    put(tmp_path, wal_1=whole, wal_2=torn[:-3], wal_3=b"", wal_4_gz=sealed(plain(3, [4]), 4)[:-4])
    for path in tmp_path.iterdir():
        path.chmod(mode)
    # Held open, so that no new file gets its number.
    with (tmp_path / "wal-1.v1").open("rb") as before:
        with walcore.open(tmp_path, file_mode=0o660) as log:
            assert (len(log.opening.cut), len(log.opening.quarantined)) == (1, 1)
        assert not os.path.samestat((tmp_path / "wal-1.v1.gz").stat(), os.fstat(before.fileno()))
    found = {name: value for name, value in modes(tmp_path).items() if name.partition("/")[2] or "wal-" in name}
    assert {"wal-1.v1.gz", "wal-2.v1.gz", "wal-4.v1.gz"} <= found.keys()
    assert set(found.values()) == {f"{mode:o}"}
    assert sum(name.startswith("quarantine/") for name in found) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_only_read_is_told_so_and_reads() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        wal = put(Path(folder), wal_1=plain(1, [1]))
        before = folders.tree(wal)
        wal.chmod(0o755)
        (wal / "wal-1.v1").chmod(0o644)
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match="needs leave to write in the log's folder") as caught:
                walcore.open(wal)
            assert caught.value.filename == str(wal / "lock")
            assert [record.lsn for record in walcore.read(wal)] == [1]
        finally:
            os.seteuid(0)
        assert folders.tree(wal) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_copy_made_by_root_is_its_owners(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]))
    os.chown(tmp_path / "wal-1.v1", 1234, 4321)
    walcore.open(tmp_path).close()
    status = (tmp_path / "wal-1.v1.gz").stat()
    assert (status.st_uid, status.st_gid) == (1234, 4321)


@pytest.mark.parametrize(("mode", "left"), [(0o640, 0o600), (0o664, 0o644), (0o646, 0o646)])
def test_where_the_group_can_not_be_kept_another_may_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, left: int
) -> None:
    def refuse(fd: int, _uid: int, _gid: int) -> None:
        raise PermissionError

    class Other:
        st_mode, st_uid, st_gid = stat.S_IFREG | mode, 1234, 4321

    with (tmp_path / "copy").open("wb") as target:
        real = os.fstat
        monkeypatch.setattr(files.calls, "fstat", lambda fd: real(fd) if fd == target.fileno() else Other)
        monkeypatch.setattr(files.calls, "fchown", refuse)
        files.inherit(-1, target.fileno())
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == left
