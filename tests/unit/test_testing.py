"""The watched disk: what a power cut can leave, which calls fail how, and that what it tells is what happened."""

from __future__ import annotations

import builtins
import errno
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path

import folders
import pytest

import walcore
from walcore import system
from walcore.lock import is_locked
from walcore.testing import Disk, PowerOffError

MANY = range(300)


def states(disk: Disk, into: Path, at: int | None = None, seeds: range = MANY) -> set[tuple[tuple[str, bytes], ...]]:
    """Every different content that a power cut leaves at a point."""
    points = [len(disk.journal) if at is None else at]
    return {tuple(folders.tree(cut.path).items()) for cut in disk.power_cuts(into, seeds=seeds, points=points)}


def put(path: Path, data: bytes, *, sync: bool = False) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


# -- what a power cut leaves ------------------------------------------------------------------------------------------


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
        put(disk.path / "a", bytes(3 * 4096), sync=True)
        sync_folder(disk.path)
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
        put(disk.path / "a", b"", sync=True)
        sync_folder(disk.path)
        put(disk.path / "a", b"x" * 10_000)
        sizes = {len(dict(state)["a"].rstrip(b"\0")) for state in states(disk, tmp_path / "cuts")}
    assert {4096, 8192} <= sizes
    assert any(size % 512 == 0 and size % 4096 for size in sizes)
    assert any(size % 512 for size in sizes - {10_000})


def test_in_a_page_a_later_write_carries_the_earlier_along(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"--", sync=True)
        sync_folder(disk.path)
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
        put(disk.path / "a", b"1", sync=True)
        sync_folder(disk.path)
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
        put(disk.path / "a", b"", sync=True)
        sync_folder(disk.path)
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
        put(disk.path / "a", b"--", sync=True)
        sync_folder(disk.path)
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
        put(disk.path / "a", b"x" * 2048, sync=True)
        sync_folder(disk.path)
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


# -- what it tells is what happened -----------------------------------------------------------------------------------


def tumble(folder: Path, chance: random.Random, steps: int) -> None:
    """All sorts of calls on a few names, most of which go wrong now and then."""
    (folder / "s").mkdir(exist_ok=True)
    fd = os.open(folder, os.O_RDONLY)

    def name() -> str:
        return chance.choice(("a", "b", "c", "s/a", "s/b"))

    def some() -> bytes:
        return chance.randbytes(chance.choice((0, 1, 700, 5000)))

    def opened(flags: int, use: Callable[[int], object]) -> None:
        file = os.open(name(), flags | os.O_CREAT, dir_fd=fd)
        try:
            use(file)
        finally:
            os.close(file)

    moves: list[Callable[[], object]] = [
        lambda: opened(os.O_WRONLY | os.O_APPEND, lambda file: (os.write(file, some()), os.write(file, some()))),
        lambda: opened(os.O_RDWR, lambda file: os.pwrite(file, some(), chance.randrange(9000))),
        lambda: opened(os.O_RDWR, lambda file: (os.lseek(file, chance.randrange(99), 0), os.write(file, some()))),
        lambda: opened(os.O_WRONLY | os.O_TRUNC, lambda file: os.write(file, some())),
        lambda: opened(os.O_RDWR, lambda file: os.ftruncate(file, chance.randrange(9000))),
        lambda: opened(os.O_RDWR | os.O_EXCL, os.fsync),
        lambda: os.unlink(name(), dir_fd=fd),
        lambda: os.remove(folder / name()),
        lambda: os.link(name(), name(), src_dir_fd=fd, dst_dir_fd=fd),
        lambda: os.rename(name(), name(), src_dir_fd=fd, dst_dir_fd=fd),
        lambda: os.replace(folder / name(), folder / ".." / folder.name / name()),
        lambda: (folder / "new").mkdir(),
        lambda: (folder / "new").rmdir(),
        lambda: (folder / "new").rename(folder / "s" / "new"),
        lambda: (folder / "s" / "new").rmdir(),
        lambda: (folder / name()).write_text("text"),
        lambda: shutil.copy2(folder / name(), folder / "s"),
        lambda: os.fsync(fd),
    ]
    for _ in range(steps):
        with suppress(OSError):
            chance.choice(moves)()
    os.close(fd)


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


# -- faults -----------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Path], object]] = {
    "open": lambda path: os.open(path / "a", os.O_RDONLY),
    "read": lambda path: os.read(os.open(path / "a", os.O_RDONLY), 1),
    "pread": lambda path: os.pread(os.open(path / "a", os.O_RDONLY), 1, 0),
    "preadv": lambda path: os.preadv(os.open(path / "a", os.O_RDONLY), [bytearray(1)], 0),
    "write": lambda path: os.write(os.open(path / "a", os.O_RDWR), b"1"),
    "pwrite": lambda path: os.pwrite(os.open(path / "a", os.O_RDWR), b"1", 0),
    "fsync": lambda path: os.fsync(os.open(path / "a", os.O_RDWR)),
    "fdatasync": lambda path: os.fdatasync(os.open(path / "a", os.O_RDWR)),
    "ftruncate": lambda path: os.ftruncate(os.open(path / "a", os.O_RDWR), 0),
    "lseek": lambda path: os.lseek(os.open(path / "a", os.O_RDWR), 0, 0),
    "fstat": lambda path: os.fstat(os.open(path / "a", os.O_RDWR)),
    "fchmod": lambda path: os.fchmod(os.open(path / "a", os.O_RDWR), 0o600),
    "close": lambda path: os.close(os.open(path / "a", os.O_RDWR)),
    "stat": lambda path: (path / "a").stat(),
    "listdir": lambda path: os.listdir(path),
    "scandir": lambda path: os.scandir(path).close(),
    "fchown": lambda path: os.fchown(os.open(path / "a", os.O_RDWR), -1, -1),
    "rename": lambda path: os.rename(path / "a", path / "b"),
    "link": lambda path: os.link(path / "a", path / "b"),
    "unlink": lambda path: (path / "a").unlink(),
    "mkdir": lambda path: (path / "b").mkdir(),
    "rmdir": lambda path: (path / "s").rmdir(),
}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EACCES, errno.ESTALE])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_fails_as_it_is_told_and_does_nothing(tmp_path: Path, call: str, error: int) -> None:
    path = tmp_path / "d"
    (path / "s").mkdir(parents=True)
    (path / "a").write_bytes(b"12")
    with Disk(path) as disk:
        fault = disk.fault(call, error)
        with pytest.raises(OSError, match=os.strerror(error)) as caught:
            CALLS[call](path)
        assert (fault.met, caught.value.errno) == (1, error)
        assert (folders.tree(path), fault.met) == ({"a": b"12"}, 1)
        CALLS[call](path)  # once
        for fd in list(disk.descriptors):
            os.close(fd)


def test_faults_are_counted_by_call_family_name_and_number(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        second = disk.fault("sync", errno.EIO, nth=2, times=2)
        named = disk.fault("write", errno.ENOSPC, name="b*", times=None)
        deep = disk.fault("open", errno.EACCES, name="s/?")
        done: list[int] = []
        for name in ("a", "b1", "a", "b2", "a", "a"):
            try:
                put(disk.path / name, b"1", sync=True)
            except OSError as exc:
                done.append(exc.errno)
            else:
                done.append(0)
        assert done == [0, errno.ENOSPC, errno.EIO, errno.ENOSPC, errno.EIO, 0]
        (disk.path / "s").mkdir()
        with pytest.raises(PermissionError):
            put(disk.path / "s" / "a", b"1")
        assert (second.met, named.met, deep.met) == (2, 4, 1)  # closing tries the write again
        assert (disk.count("sync"), disk.count("write", name="b?"), disk.count("fdatasync")) == (4, 4, 0)
        assert disk.count() == len(disk.calls)


def test_writes_and_reads_stop_short(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"0123456789")
        fd = os.open(disk.path / "a", os.O_RDWR)
        room = bytearray(10)
        disk.fault("*", short=3, times=None)
        assert (os.read(fd, 10), os.pread(fd, 10, 5), os.preadv(fd, [room], 1)) == (b"012", b"567", 3)
        assert (os.write(fd, b"abcdef"), os.pwrite(fd, b"xyz!", 8), bytes(room[:3])) == (3, 3, b"123")
        os.close(fd)
    assert folders.tree(disk.path) == {"a": b"012abc67xyz"}


def test_an_interruption_is_seen_by_the_core_only(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        fault = disk.fault("*", errno.EINTR, times=1000)
        disk.path.joinpath("a").write_bytes(b"1")
        os.rename(disk.path / "a", disk.path / "b")
        assert fault.met > 3
        disk.faults.clear()
        with walcore.open(disk.path / "wal") as wal:
            lsn = wal.log_mint(1, "I", "urn:a")
            fault = disk.fault("pwrite", errno.EINTR, times=9, name="wal-1.v1")
            wal.commit(lsn)
            assert (fault.met, fault.seen) == (9, 10)
        wal = walcore.open(disk.path / "wal")
        wal.log_mint(2, "I", "urn:b")
        disk.fault("fdatasync", errno.EINTR, name="wal-2.v1")
        with pytest.raises(walcore.WalFailedError):
            wal.commit()
        with pytest.raises(walcore.WalFailedError):
            wal.close()


def test_a_slow_disk_is_slow_for_the_calls_named(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        slow = disk.slow(0.02, name="a")
        began = time.monotonic()
        put(disk.path / "b", b"1", sync=True)
        put(disk.path / "a", b"1", sync=True)
        assert time.monotonic() - began >= 0.02
        assert slow.met == 1


def test_chance_is_drawn_by_the_seed(tmp_path: Path) -> None:
    def run(name: str, seed: int) -> list[int]:
        done = []
        with Disk(tmp_path / name, seed=seed) as disk:
            disk.fault("write", errno.EIO, chance=0.5, times=None)
            for _ in range(64):
                try:
                    put(disk.path / "a", b"1")
                except OSError:
                    done.append(1)
                else:
                    done.append(0)
        return done

    assert run("a", 1) == run("b", 1) != run("c", 2)
    assert 10 < sum(run("d", 3)) < 54


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"call": "sendfile", "error": 5}, "no call is named"),
        ({"call": "write", "error": errno.EINTR, "times": None}, "for ever"),
        ({"call": "write"}, "needs an error"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tmp_path: Path, wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Disk(tmp_path).fault(**wrong)  # type: ignore[arg-type]


# -- the power goes while an engine runs ------------------------------------------------------------------------------


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

    def recovers(cut: object) -> None:
        path = cut.path / "wal"  # type: ignore[attr-defined]
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
        state = tuple(folders.tree(cut.path).items()), *map(str, sorted(cut.path.rglob("*/")))
        seen.add((*state[:1], *(name.replace(str(cut.path), "") for name in state[1:])))
        again = runs[1].power_cut(tmp_path / "again" / cut.id, seed=cut.seed, at=cut.at)
        assert folders.tree(again.path) == folders.tree(cut.path)
        assert (again.after, again.kind, again.id) == (cut.after, cut.kind, cut.id)
        tried += 1
    assert tried == len(seen) > 100  # equal ones once


def test_a_failing_recovery_names_its_state_and_leaves_it(tmp_path: Path) -> None:
    with Disk(tmp_path / "d") as disk:
        put(disk.path / "a", b"1")
        disk.note("a")

    def recovers(cut: object) -> None:
        assert not getattr(cut, "notes", ())

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
