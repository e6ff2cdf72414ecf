"""The watched disk sees what happens, says so when it can't, and leaves everything else as it is."""

from __future__ import annotations

import builtins
import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import folders
import pytest
from moves import put, tumble

import walcore
from walcore import system
from walcore.testing import Disk


@pytest.mark.parametrize("seed", range(20))
def test_the_model_is_like_the_folder_after_all_sorts_of_calls(tmp_path: Path, seed: int) -> None:
    with Disk(tmp_path / "d") as disk:
        tumble(disk.path, random.Random(seed), 300)
        for _ in disk.power_cuts(tmp_path / "cuts", points=[100], seeds=range(20)):
            pass
        there = {(path.stat().st_dev, path.stat().st_ino) for path in (disk.path, *disk.path.rglob("*"))}
        assert set(disk.nodes) == there  # a file deleted leaves its number to others
    assert len(disk.journal) > 100  # and the block's end compared


def test_the_model_is_like_the_folder_after_a_whole_life_of_a_log(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        for life in range(3):
            with walcore.open(disk.path / "wal", max_segment_bytes=1024) as wal:
                for id in range(40):
                    wal.log_mint(id, "L", "x" * id)
                    if id % 7 == 0:
                        wal.commit()
                if life == 0:
                    wal.rotate()
                if life == 1:
                    wal.purge_all_segments()
            for path in (disk.path / "wal").glob("*.v1"):  # torn: it goes to the quarantine
                with path.open("ab") as file:
                    file.write(b"\x07\0\0")
        walcore.open(disk.path / "wal").close()
        assert any((disk.path / "wal" / "quarantine").iterdir())
        disk.check()


def test_a_change_that_could_not_be_seen_is_an_error(tmp_path: Path) -> None:
    change = f"open({str(tmp_path / 'd' / 'a')!r}, 'w').write('unseen')"
    with pytest.raises(AssertionError, match=r"couldn't be seen: a$"), Disk(tmp_path / "d"):
        subprocess.run([sys.executable, "-c", change], check=True)


def test_links_and_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link").symlink_to("elsewhere")
    with pytest.raises(ValueError, match="neither a file nor a folder"), Disk(tmp_path / "d"):
        pass


def test_other_folders_are_left_alone_and_all_is_as_before_at_the_end(tmp_path: Path) -> None:
    before = os.open, os.replace, builtins.open, vars(system.calls).copy()
    with Disk(tmp_path / "d") as disk:
        disk.fault("*", errno.EIO, times=None)
        put(tmp_path / "other", b"1", sync=True)
        os.replace(tmp_path / "other", tmp_path / "another")
        assert disk.calls == []
        with pytest.raises(OSError, match="a file system of its own"):
            os.rename(tmp_path / "another", disk.path / "another")
        disk.faults.clear()
    assert before == (os.open, os.replace, builtins.open, vars(system.calls))


def test_two_folders_are_watched_at_once(tmp_path: Path) -> None:
    with Disk(tmp_path / "a") as one, Disk(tmp_path / "b") as other:
        one.fault("write", errno.ENOSPC, times=None)
        with pytest.raises(OSError, match="No space"):
            put(one.path / "f", b"1")
        put(other.path / "f", b"1")
    assert folders.tree(tmp_path) == {"a/f": b"", "b/f": b"1"}


def test_a_number_given_out_again_is_another_file(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        fd = os.open(disk.path / "a", os.O_WRONLY | os.O_CREAT)
        os.closerange(fd, fd + 1)  # not seen
        again = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
        assert again == fd
        os.write(again, b"outside")
        os.close(again)
    assert folders.tree(tmp_path) == {"d/a": b"", "other": b"outside"}


@pytest.mark.parametrize("mode", ["w", "a", "x", "r+", "w+", "a+"])
@pytest.mark.parametrize("buffering", [-1, 0, 1])
def test_open_is_like_the_builtin(tmp_path: Path, mode: str, buffering: int) -> None:
    def use(path: Path) -> tuple[object, ...]:
        path.mkdir(exist_ok=True)
        if mode != "x":
            (path / "a").write_text("ä\nb\n", "utf-8")
        kind = mode + "b" * (buffering == 0)
        text = None if buffering == 0 else "utf-8"
        with open(path / "a", kind, buffering, encoding=text) as file:
            file.writelines(line if text else line.encode() for line in ("one\n", "two\n"))
            file.seek(3)
            file.truncate()
            told = (file.tell(), file.name == path / "a", file.readable(), file.writable(), file.seekable())
        with (path / "a").open("rb") as file:
            return *told, (path / "a").read_bytes(), list(file)

    with Disk(tmp_path / "d") as disk:
        watched = use(disk.path)
        with pytest.raises(ValueError, match="mode"):
            (disk.path / "a").open("no")
    assert watched == use(tmp_path / "e")


def test_a_file_is_closed_once_and_not_at_all_if_it_is_somebody_elses(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        file = (disk.path / "a").open("wb", buffering=0)
        fd = file.fileno()
        file.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        again = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
        assert again == fd
        file.close()
        os.close(again)
        fd = os.open(disk.path / "a", os.O_RDWR)
        with open(fd, "r+b", closefd=False) as file:
            file.write(b"1")
        assert os.pread(fd, 9, 0) == b"1"
        os.close(fd)
        with (disk.path / "a").open("rb") as file:
            assert (file.readinto(bytearray(9)), file.read(), file.tell()) == (1, b"", 1)
        with (disk.path / "a").open("r+b") as file:
            file.write(b"123456")
            assert (file.truncate(), file.truncate(3), file.tell()) == (6, 3, 6)
    assert (disk.path / "a").read_bytes() == b"123"


@pytest.mark.parametrize(("buffering", "there"), [(-1, b""), (1, b"line\n"), (100, b"")])
def test_a_line_is_written_at_its_end_only_if_asked_for(tmp_path: Path, buffering: int, there: bytes) -> None:
    for folder in (tmp_path / "d", tmp_path / "e"):  # watched, and the builtin
        with Disk(tmp_path / "d"):
            folder.mkdir(exist_ok=True)
            with open(folder / "a", "w", buffering, encoding="utf-8") as file:
                file.write("line\nmore")
                found = (folder / "a").read_bytes()
            assert found.startswith(there)
            assert bool(found) == bool(there)
            assert (folder / "a").read_bytes() == b"line\nmore"
