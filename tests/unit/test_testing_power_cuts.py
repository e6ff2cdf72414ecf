"""The watched disk's model: what a power cut can leave of files, names and folders, and what it can't."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from itertools import product
from pathlib import Path

import folders
import pytest
from moves import put, settle, sync_folder, tumble

from walcore.testing import Disk


def states(disk: Disk, into: Path, seeds: range = range(300)) -> set[tuple[tuple[str, bytes], ...]]:
    """Every different content that a power cut leaves now."""
    cuts = disk.power_cuts(into, seeds=seeds, points=[len(disk.journal)])
    return {tuple(folders.tree(cut.path).items()) for cut in cuts}


def test_an_unsynced_file_is_missing_or_empty_or_torn_or_zeros_or_whole(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"0123456789")
        found = states(disk, tmp_path / "cuts", seeds=range(3000))
    torn = {b"0123456789"[:size] for size in range(11)}
    assert found == {(), *((("a", data),) for data in torn | {bytes(10)})}


def test_without_its_folders_sync_a_synced_file_is_whole_or_missing(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"0123456789", sync=True)
        assert states(disk, tmp_path / "cuts") == {(), (("a", b"0123456789"),)}
        sync_folder(disk.path)
        assert states(disk, tmp_path / "cuts") == {(("a", b"0123456789"),)}


def test_pages_and_sectors_reach_the_disk_in_any_order(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        settle(disk.path / "a", bytes(3 * 4096))
        with (disk.path / "a").open("r+b") as file:
            for page in (b"1", b"2", b"3"):
                file.write(page * 4096)
                file.flush()
        found = {dict(state)["a"] for state in states(disk, tmp_path / "cuts", seeds=range(600))}
    by_page = {tuple(data[at : at + 4096] for at in range(0, 3 * 4096, 4096)) for data in found}
    for held in product((True, False), repeat=3):
        pages = zip((b"1", b"2", b"3"), held, strict=True)
        assert tuple(page * 4096 if there else bytes(4096) for page, there in pages) in by_page
    assert any(data[:512] == bytes(512) and data[512:1024] == b"1" * 512 for data in found)


def test_a_write_is_torn_at_bytes_sectors_and_pages(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        settle(disk.path / "a", b"")
        put(disk.path / "a", b"x" * 10_000)
        sizes = {len(dict(state)["a"].rstrip(b"\0")) for state in states(disk, tmp_path / "cuts")}
    assert {4096, 8192} <= sizes
    assert any(size % 512 == 0 and size % 4096 for size in sizes)
    assert any(size % 512 for size in sizes - {10_000})


def test_in_a_page_a_later_write_carries_the_earlier_along(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        settle(disk.path / "a", b"--")
        fd = os.open(disk.path / "a", os.O_WRONLY)
        os.pwrite(fd, b"1", 0)
        os.pwrite(fd, b"2", 1)
        os.close(fd)
        assert {dict(state)["a"] for state in states(disk, tmp_path / "cuts")} == {b"--", b"1-", b"12"}


def test_unsynced_names_are_lost_each_by_itself_but_in_order_of_one_name(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"1", sync=True)
        put(disk.path / "b", b"2", sync=True)
        os.replace(disk.path / "a", disk.path / "c")
        found = {tuple(name for name, _ in state) for state in states(disk, tmp_path / "cuts")}
    assert found == {(), ("a",), ("b",), ("c",), ("a", "b"), ("b", "c")}


def test_a_name_given_on_is_never_there_without_the_first(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        settle(disk.path / "a", b"1")
        os.rename(disk.path / "a", disk.path / "b")
        os.rename(disk.path / "b", disk.path / "c")
        found = {tuple(name for name, _ in state) for state in states(disk, tmp_path / "cuts")}
    assert found == {("a",), ("b",), ("c",)}


def test_a_rename_is_atomic_within_a_folder(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"new", sync=True)
        put(disk.path / "b", b"old", sync=True)
        sync_folder(disk.path)
        os.rename(disk.path / "a", disk.path / "b")
        found = {tuple(state) for state in states(disk, tmp_path / "cuts")}
    assert found == {(("a", b"new"), ("b", b"old")), (("b", b"new"),)}


def test_what_is_in_a_lost_folder_is_lost(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        (disk.path / "sub").mkdir()
        put(disk.path / "sub" / "a", b"1", sync=True)
        sync_folder(disk.path / "sub")
        assert states(disk, tmp_path / "cuts") == {(), (("sub/a", b"1"),)}


def test_a_sync_covers_what_was_written_before_it_was_called(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        settle(disk.path / "a", b"")
        fd = os.open(disk.path / "a", os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"1")
        disk.slow(0.2, "fsync")
        thread = threading.Thread(target=os.fsync, args=(fd,))
        thread.start()
        while disk.count("fsync") < 3:
            time.sleep(0.001)
        os.write(fd, b"2")
        thread.join()
        os.close(fd)
        assert {dict(state)["a"] for state in states(disk, tmp_path / "cuts")} == {b"1", b"1\0", b"12"}


def test_a_failed_sync_loses_its_data_for_good(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        settle(disk.path / "a", b"--")
        fd = os.open(disk.path / "a", os.O_RDWR)
        os.pwrite(fd, b"1", 0)
        disk.fault("fsync", errno.EIO)
        with pytest.raises(OSError, match="Input/output error"):
            os.fsync(fd)
        os.pwrite(fd, b"2", 1)
        os.fsync(fd)
        assert os.pread(fd, 2, 0) == b"12"  # the cache lies
        os.close(fd)
        assert {dict(state)["a"] for state in states(disk, tmp_path / "cuts")} == {b"-2"}


def test_a_sync_that_succeeds_keeps_what_one_beside_it_failed_for(tmp_path: Path) -> None:
    """Two threads sync one folder; who is told that it is on disk finds it there, whatever the other is told."""
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"1", sync=True)
        began = disk.count("fsync")
        disk.fault("fsync", delay=0.2)
        thread = threading.Thread(target=sync_folder, args=(disk.path,))
        thread.start()
        while disk.count("fsync") == began:
            time.sleep(0.001)
        disk.fault("fsync", errno.EIO)
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(disk.path)
        assert states(disk, tmp_path / "before") == {()}
        thread.join()
        assert states(disk, tmp_path / "cuts") == {(("a", b"1"),)}


def test_a_cut_file_doesnt_get_its_old_bytes_back(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        settle(disk.path / "a", b"x" * 2048)
        with (disk.path / "a").open("r+b") as file:
            file.truncate(0)
            file.seek(1024)
            file.write(b"new")
        found = {dict(state)["a"] for state in states(disk, tmp_path / "cuts")}
    assert {data for data in found if data.startswith(b"x")} == {b"x" * 2048}
    assert bytes(1024) + b"new" in found


def test_o_sync_and_hard_links_are_what_they_are(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        fd = os.open(disk.path / "a", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
        os.write(fd, b"12")
        os.close(fd)
        os.link(disk.path / "a", disk.path / "b")
        sync_folder(disk.path)
        cut = disk.power_cut(tmp_path / "cut")
    assert folders.tree(cut.path) == {"a": b"12", "b": b"12"}
    assert (cut.path / "a").samefile(cut.path / "b")


def test_what_was_there_before_is_on_disk(tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "a").write_bytes(b"old")
    with Disk(tmp_path / "d") as disk:
        (disk.path / "sub" / "a").write_bytes(b"new")
        disk.power_cut(tmp_path / "cut", seed=0)
    assert folders.tree(tmp_path / "cut") == {"sub/a": b"old"}


def test_a_killed_process_leaves_everything(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        tumble(disk.path, random.Random(5), 200)
        disk.power_cut(tmp_path / "cut", seed=1)
    assert folders.tree(tmp_path / "cut") == folders.tree(tmp_path / "d")
