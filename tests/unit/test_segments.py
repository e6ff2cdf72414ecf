"""The directory: names, order, exclusive creation, deletion, and what is never touched."""

from __future__ import annotations

import errno
import gc
import gzip
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import folders
import oracle
import pytest
from folders import STORE, plain, put, sealed

import walcore
from walcore import quarantine, system
from walcore.format import MAX_NAME_CHARS, NAME_TOO_LONG
from walcore.segments import Directory, PurgeMarker, list_segments, open_segment


def make(directory: Path, number: int, first_id: int) -> str:
    with Directory(directory) as opened:
        made = opened.create_segment(number, first_id, STORE, 1_700_000_000)
    os.close(made.fd)
    return made.path.name


def test_a_segment_is_made_with_its_header(tmp_path: Path) -> None:
    with Directory(tmp_path) as directory:
        made = directory.create_segment(3, 42, STORE, 1_700_000_000)
        expected = oracle.header_frame(STORE, 1_700_000_000, 3, 42)
        assert made.path.read_bytes() == expected
        os.write(made.fd, folders.mint(1))
        os.close(made.fd)
        (found,) = directory.segments()
    assert found == made.finished(len(expected) + len(folders.mint(1)))
    assert found.header is not None
    assert (found.header.number, found.header.first_id, found.header.size) == (3, 42, len(expected))
    assert found.header.crc == int.from_bytes(expected[-4:], "little")
    assert sorted(folders.tree(tmp_path)) == ["wal-42.v1"]


def test_a_taken_name_gets_leading_zeros_and_then_the_next_number(tmp_path: Path) -> None:
    names = [make(tmp_path, number, 7) for number in range(1, 67)]
    assert names[:3] == ["wal-7.v1", "wal-07.v1", "wal-007.v1"]
    assert names[64] == f"wal-{'0' * 64}7.v1"
    assert names[65] == "wal-8.v1"
    assert [s.number for s in list_segments(tmp_path)] == list(range(1, 67))


def test_a_name_is_taken_by_a_sealed_segment_or_a_link(tmp_path: Path) -> None:
    put(tmp_path, wal_7_gz=b"")
    (tmp_path / "wal-07.v1").symlink_to("nowhere")
    assert make(tmp_path, 1, 7) == "wal-007.v1"
    assert not (tmp_path / "nowhere").exists()


def test_a_negative_first_id_is_named_0_and_kept_in_the_header(tmp_path: Path) -> None:
    assert make(tmp_path, 1, -5) == "wal-0.v1"
    (found,) = list_segments(tmp_path)
    assert found.header is not None
    assert found.header.first_id == -5


def test_the_originals_negative_names_are_seen(tmp_path: Path) -> None:
    (tmp_path / "wal--5.v1").write_bytes(plain(1, [1]))
    assert [s.number for s in list_segments(tmp_path)] == [1]


def test_segments_are_ordered_by_header_not_by_name(tmp_path: Path) -> None:
    put(tmp_path, wal_9=plain(1, [1]), wal_1=plain(2, [2]), wal_5=b"", wal_3_gz=sealed(plain(2, [2]), 2))
    assert [s.name for s in list_segments(tmp_path)] == ["wal-5.v1", "wal-9.v1", "wal-1.v1", "wal-3.v1.gz"]


def test_what_has_no_header_says_why(tmp_path: Path) -> None:
    whole = plain(1, [])
    put(
        tmp_path,
        wal_1=b"",
        wal_2=whole[:-1],
        wal_3=whole[:-1] + bytes([whole[-1] ^ 1]),
        wal_4=folders.mint(1),
        wal_5_gz=b"no gzip at all",
        wal_6_gz=sealed(whole, 0)[:12],
        wal_7=oracle.frame('{"t":"V","store":"x","created":1,"segment":99999999999,"firstId":1}'),
        wal_8=oracle.frame("[" * 60_000),
        wal_9=b"\xff\xff\xff\x7f" + b"x" * 100,
        wal_13=bytes(64),
    )
    (tmp_path / "wal-10.v1").symlink_to("wal-1.v1")
    os.mkfifo(tmp_path / "wal-11.v1")
    (tmp_path / "wal-12.v1").mkdir()
    problems = {s.name[4:].split(".")[0]: s.problem for s in list_segments(tmp_path)}
    assert problems == {
        "1": "empty",
        "2": "torn header",
        "3": "torn header",
        "4": "unreadable: its first frame is no header",
        "5": "unreadable: Error -3 while decompressing data: incorrect header check",
        "6": "torn header",
        "7": "unreadable: its first frame is no header",
        "8": "unreadable: its first frame is no header",
        "9": "torn header",
        "10": "a symbolic link, not a regular file",
        "11": "a FIFO, not a regular file",
        "12": "a folder, not a regular file",
        "13": "torn header",
    }


def test_a_name_may_have_so_many_characters_and_not_one_more(tmp_path: Path) -> None:
    content = folders.plain(1, [1])
    for size in range(MAX_NAME_CHARS, MAX_NAME_CHARS + 3):
        (tmp_path / f"wal-{'1'.zfill(size - len('wal-.v1'))}.v1").write_bytes(content)
    problems = {len(one.name): one.problem for one in list_segments(tmp_path)}
    assert problems == {MAX_NAME_CHARS: None, MAX_NAME_CHARS + 1: NAME_TOO_LONG, MAX_NAME_CHARS + 2: NAME_TOO_LONG}


def test_a_gzip_bomb_is_not_blown_up_for_its_header(tmp_path: Path) -> None:
    put(tmp_path, wal_1_gz=gzip.compress(b"\x00\xff\x00\x00" + bytes(64 << 20)))
    (found,) = list_segments(tmp_path)
    assert found.problem == "torn header"


@pytest.mark.parametrize("make_odd", [lambda p: p.symlink_to("/etc/hostname"), os.mkfifo, lambda p: p.mkdir()])
def test_only_regular_files_are_opened(tmp_path: Path, make_odd: object) -> None:
    path = tmp_path / "wal-1.v1"
    make_odd(path)  # type: ignore[operator]
    with pytest.raises(OSError, match="not a regular file") as caught:
        open_segment(path)
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(path))


def test_a_copy_of_a_sparse_file_is_sparse(tmp_path: Path) -> None:
    size = 64 << 30
    with (tmp_path / "from").open("wb") as file:
        file.write(b"begin")
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"middle")
    with Directory(tmp_path) as directory:
        directory.copy("from", directory, "whole", 0, size)
        directory.copy("from", directory, "part", 3, size - 1)
        with pytest.raises(OSError, match="ended at"):
            directory.copy("from", directory, "beyond", 0, size + 1)
    for name, start, length in (("whole", 0, size), ("part", 3, size - 4)):
        path = tmp_path / name
        assert path.stat().st_size == length
        assert path.stat().st_blocks * 512 < size // 1000
        with path.open("rb") as file:
            assert file.read(5) == b"begin\0\0\0"[start : start + 5]
            file.seek(size // 2 - start)
            assert file.read(7) == b"middle\0"


def test_a_missing_directory_and_a_file_in_its_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list_segments(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="file"):
        list_segments(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Directory(tmp_path / "nowhere" / "wal", create=True)


def test_other_names_are_no_segments(tmp_path: Path) -> None:
    for name in ("wal-1.v2", "wal-1.v1.gz.walcore-tmp", "wal-.v1", "xwal-1.v1", "wal-1.v1.bak", "lock", "wal-¹.v1"):
        (tmp_path / name).write_bytes(plain(1, [1]))
    assert list_segments(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EACCES])
def test_where_links_are_refused_a_name_is_looked_for_and_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(system.calls, "link", refuse)
    assert [make(tmp_path, number, 7) for number in (1, 2)] == ["wal-7.v1", "wal-07.v1"]
    assert len(folders.tree(tmp_path)) == 2
    with Directory(tmp_path) as directory:
        os.close(directory.create("temporary"))
        with pytest.raises(FileExistsError, match=r"wal-7\.v1"):
            directory.publish("temporary", "wal-7.v1")
    assert len(folders.tree(tmp_path)["wal-7.v1"]) > 0


@pytest.mark.parametrize("nth", range(1, 8))
def test_a_failed_creation_leaves_nothing_and_tells_call_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    with Directory(tmp_path) as directory:
        full = lambda: OSError(errno.ENOSPC, "No space left on device")  # noqa: E731
        with folders.failing(monkeypatch, nth, full, for_ever=False) as made:
            try:
                os.close(directory.create_segment(1, 7, STORE, 0).fd)
            except OSError as exc:
                assert exc.filename.startswith(str(tmp_path))
                assert exc.call == made[nth - 1]  # type: ignore[attr-defined]
                assert folders.tree(tmp_path) == {}
                if exc.call == "fsync":  # type: ignore[attr-defined]
                    return  # the names may be lost: nothing is promised any more through this descriptor
                os.close(directory.create_segment(1, 7, STORE, 0).fd)
            else:
                assert made == ["open", "write", "fdatasync", "link", "unlink", "fsync"]
        assert [s.name for s in directory.segments()] == ["wal-7.v1"]


def test_a_temporary_name_that_stays_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failure it left the segment under its name too, and the next one got the same number."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, "not yours")

    with walcore.open(tmp_path) as wal:
        with monkeypatch.context() as patch:
            patch.setattr(system.calls, "unlink", refuse)
            for number in range(1, 4):
                wal.commit(wal.log_mint(number, "I", "x"))
                wal.rotate()
        wal.commit(wal.log_mint(4, "I", "x"))
    assert [segment.number for segment in list_segments(tmp_path) if not segment.sealed] != []
    with walcore.open(tmp_path) as wal:
        assert not wal.opening.faults
        assert not wal.opening.quarantined
    assert [record.lsn for record in walcore.read(tmp_path)] == [1, 2, 3, 4]
    assert not list(tmp_path.glob("*.walcore-tmp"))


def test_a_failed_creation_is_told_of_whatever_fails_while_it_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = system.calls.close

    def complaining(fd: int) -> None:
        close(fd)
        raise OSError(errno.EIO, "closing failed")

    full = lambda: OSError(errno.ENOSPC, "full")  # noqa: E731
    gc.collect()  # what other tests left open is not closed by this one's call
    with Directory(tmp_path) as directory, folders.failing(monkeypatch, 3, full, for_ever=False):
        monkeypatch.setattr(system.calls, "close", complaining)
        with pytest.raises(OSError, match="full") as caught:
            directory.create_segment(1, 7, STORE, 0)
        monkeypatch.undo()
    assert caught.value.call == "fdatasync"  # type: ignore[attr-defined]
    assert folders.tree(tmp_path) == {}


def test_a_failed_sync_of_the_folder_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = lambda: OSError(errno.EIO, "lost")  # noqa: E731
    with Directory(tmp_path) as directory, folders.failing(monkeypatch, 1, lost, for_ever=False):
        for _ in range(2):
            with pytest.raises(OSError, match=rf"Errno {errno.EIO}"):
                directory.sync()
    with Directory(tmp_path) as directory:
        directory.sync()


def test_a_sync_of_the_folder_that_another_thread_waits_for_fails_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    second = threading.Event()
    failed: list[OSError] = []

    def fsync(fd: int) -> None:
        calls.append(fd)
        if len(calls) > 1:
            second.set()  # the system has told the first caller, and calls this one a success
            return
        other.start()
        second.wait(0.2)
        raise OSError(errno.EIO, "lost")

    with Directory(tmp_path) as directory:

        def sync() -> None:
            try:
                directory.sync()
            except OSError as error:
                failed.append(error)

        other = threading.Thread(target=sync)
        monkeypatch.setattr(system.calls, "fsync", fsync)
        sync()
        other.join()
    assert [error.errno for error in failed] == [errno.EIO] * 2


def test_files_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with Directory(tmp_path / "wal", create=True) as directory:
            os.close(directory.create_segment(1, 1, STORE, 0).fd)
            quarantine.keep(directory, "wal-1.v1", 0, 4, 0)
            directory.write_line("walcore.state", {})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "wal").stat().st_mode) == 0o750
    for path in (tmp_path / "wal").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640)


def test_only_the_very_file_is_deleted(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]))
    with Directory(tmp_path) as directory:
        (segment,) = directory.segments()
        keep = tmp_path / "keep"
        segment.path.rename(keep)
        segment.path.write_bytes(b"another")
        assert not directory.delete(segment)
        keep.replace(segment.path)
        assert directory.delete(segment)
        assert not directory.delete(segment)
        # Whichever of the two inode numbers is the greater.
        put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2]))
        one, two = directory.segments()
        for segment, other in ((one, two), (two, one)):
            assert not directory.delete(replace(segment, inode=other.inode))
            assert segment.path.exists()
            assert directory.delete(segment)


def test_a_small_file_survives_no_change(tmp_path: Path) -> None:
    with Directory(tmp_path) as directory:
        fields = {"a": 1, "text": 'ü/"}', "big": 2**63 - 1}
        directory.write_line("small", fields)
        assert directory.read_line("small") == fields
        line = (tmp_path / "small").read_bytes()
        for bit in range(len(line) * 8):
            broken = bytearray(line)
            broken[bit // 8] ^= 1 << bit % 8
            (tmp_path / "small").write_bytes(broken)
            assert directory.read_line("small") is None
        for size in range(len(line)):
            (tmp_path / "small").write_bytes(line[:size])
            assert directory.read_line("small") is None
        assert directory.read_line("missing") is None


def test_a_marker_lists_files_by_what_they_are(tmp_path: Path) -> None:
    put(tmp_path, wal_1=plain(1, [1]), wal_2=plain(2, [2]), wal_9=b"")
    with Directory(tmp_path) as directory:
        empty, one, two = directory.segments()
        assert one.header is not None
        headed = frozenset({(one.name, one.header.number, one.header.crc)})
        directory.write_marker(PurgeMarker(5, STORE, headed, frozenset({(empty.name, empty.inode, empty.size)})))
        marker = directory.read_marker()
        assert marker is not None
        assert [marker.lists(s) for s in (empty, one, two)] == [True, True, False]
        put(tmp_path, wal_1_gz=sealed(plain(1, [1]), 1))
        one.path.write_bytes(plain(3, [3]))
        empty.path.write_bytes(b"x")
        assert {s.name: marker.lists(s) for s in directory.segments()} == {
            "wal-9.v1": False,
            "wal-1.v1.gz": True,
            "wal-1.v1": False,
            "wal-2.v1": False,
        }


def test_a_directory_gone_from_its_path_is_still_the_one_worked_on(tmp_path: Path) -> None:
    with Directory(tmp_path / "wal", create=True) as directory:
        (tmp_path / "wal").rename(tmp_path / "moved")
        (tmp_path / "wal").mkdir()
        os.close(directory.create_segment(1, 1, STORE, 0).fd)
    assert folders.tree(tmp_path / "wal") == {}
    assert list(folders.tree(tmp_path / "moved")) == ["wal-1.v1"]


def test_an_error_of_a_sync_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(system.calls, "fdatasync", fail)
    with Directory(tmp_path) as directory, pytest.raises(OSError, match="Input/output"):
        directory.sync_data(0, "wal-1.v1")


@pytest.mark.parametrize("left", ["file", "link", "hard link"])
def test_what_a_crash_left_under_a_temporary_name_is_not_written_into(tmp_path: Path, left: str) -> None:
    path, other = tmp_path / "wal-1.v1.walcore-tmp", tmp_path / "other"
    other.write_bytes(b"not ours")
    if left == "file":
        path.write_bytes(b"left")
    elif left == "link":
        path.symlink_to(other)
    else:
        path.hardlink_to(other)
    with Directory(tmp_path) as directory:
        fd = directory.create(path.name)
        os.write(fd, b"new")
        assert not os.get_inheritable(fd)
        os.close(fd)
    assert (path.read_bytes(), other.read_bytes(), path.is_symlink()) == (b"new", b"not ours", False)


def test_who_changes_nothing_sees_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, wal_1=plain(1, [1]))
    real = system.calls.open

    def refuse(path: str, flags: int, *mode: int, dir_fd: int | None = None) -> int:
        if path == "wal-1.v1":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, *mode, dir_fd=dir_fd)

    monkeypatch.setattr(system.calls, "open", refuse)
    with Directory(tmp_path) as directory:
        (one,) = directory.segments(forbidden=True)
        assert (one.header, one.problem) == (None, "unreadable: Permission denied")
        for call in (directory.segments, lambda: directory.segment("wal-1.v1")):
            with pytest.raises(PermissionError):
                call()
        # What may not even be looked at says nothing of itself.
        monkeypatch.setattr(system.calls, "stat", lambda *_, **__: refuse("wal-1.v1", 0))
        with pytest.raises(PermissionError):
            directory.segment("wal-1.v1", forbidden=True)
