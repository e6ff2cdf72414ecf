"""Sealing: what comes out, what stays plain and why, and the thread."""

from __future__ import annotations

import errno
import gzip
import logging
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import folders
import oracle
import pytest
from folders import mint, plain, put, sealed

from walcore import seal as seal_module
from walcore.frames import check_segment
from walcore.seal import Sealer, SealError, seal_segment
from walcore.segments import Directory, Segment


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Directory(tmp_path / "wal", create=True) as directory:
        yield directory


def made(directory: Directory, **segments: bytes) -> list[Segment]:
    put(directory.path, **segments)
    return directory.segments()


@pytest.fixture(params=["isal", "zlib"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(seal_module, "codec", lambda: zlib)
    return str(request.param)


def test_a_segment_becomes_gzip_with_its_summary(directory: Directory, codec: str) -> None:
    content = plain(3, range(5, 4000))
    (segment,) = made(directory, wal_5=content)
    path = seal_segment(directory, segment)
    assert path.name == "wal-5.v1.gz"
    assert sorted(folders.tree(directory.path)) == ["wal-5.v1.gz", "wal-5.v1.gz.walcore-index"]
    assert gzip.decompress(path.read_bytes()) == content + oracle.summary_frame(3999, zlib.crc32(content))
    (found,) = directory.segments()
    assert (found.sealed, found.header) == (True, segment.header)
    check = check_segment(found)
    assert (check.faults, check.summary) == ((), (3999, zlib.crc32(content)))
    subprocess.run(["gunzip", "-t", str(path)], check=True)


def test_sealing_twice_gives_the_same_bytes_without_name_or_time(directory: Directory, codec: str) -> None:
    results = []
    for _ in range(2):
        (segment,) = made(directory, wal_1=plain(1, range(1, 100)))
        path = seal_segment(directory, segment)
        results.append(path.read_bytes())
        path.unlink()
    assert results[0] == results[1]
    assert results[0][3] & 0x1F == 0
    assert results[0][4:8] == bytes(4)


@pytest.mark.parametrize(
    ("frames", "last_id"),
    [(b"", 0), (oracle.mint_frame(1, -7, "I", "urn:x"), 0), (mint(9) + mint(3), 9)],
    ids=["none", "negative", "not rising"],
)
def test_the_summary_has_the_highest_id_above_0(directory: Directory, frames: bytes, last_id: int) -> None:
    content = plain(1, []) + frames
    (segment,) = made(directory, wal_1=content)
    path = seal_segment(directory, segment)
    assert gzip.decompress(path.read_bytes()) == content + oracle.summary_frame(last_id, zlib.crc32(content))


@pytest.mark.parametrize("damage", ["flip", "cut", "zeros"])
def test_a_damaged_segment_stays_plain(directory: Directory, damage: str) -> None:
    content = plain(1, range(1, 50))
    broken = {
        "flip": content[:700] + bytes([content[700] ^ 4]) + content[701:],
        "cut": content[:-3],
        "zeros": content + bytes(64),
    }
    (segment,) = made(directory, wal_1=broken[damage])
    with pytest.raises(SealError, match=r"wal-1\.v1 is damaged: \w+ at byte \d+"):
        seal_segment(directory, segment)
    assert folders.tree(directory.path) == {"wal-1.v1": broken[damage]}


def test_a_sealed_name_that_is_taken_is_not_replaced(directory: Directory) -> None:
    before = {"wal-1.v1": plain(1, [1, 2]), "wal-1.v1.gz": sealed(plain(7, [9]), 9)}
    segment = made(directory, wal_1=before["wal-1.v1"], wal_1_gz=before["wal-1.v1.gz"])[0]
    with pytest.raises(SealError, match=r"wal-1\.v1\.gz is there already"):
        seal_segment(directory, segment)
    assert folders.tree(directory.path) == before


def test_a_segment_that_grew_or_went_is_not_sealed(directory: Directory) -> None:
    (segment,) = made(directory, wal_1=plain(1, [1]))
    with segment.path.open("ab") as file:
        file.write(mint(2))
    with pytest.raises(SealError, match="its size changed"):
        seal_segment(directory, segment)
    copy = plain(1, [1, 2])
    (segment,) = directory.segments()
    segment.path.rename(directory.path / "old")
    segment.path.write_bytes(copy)
    with pytest.raises(SealError, match="another file has its name"):
        seal_segment(directory, segment)
    assert folders.tree(directory.path) == {"wal-1.v1": copy, "old": copy}


def test_what_does_not_read_back_is_thrown_away(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    (segment,) = made(directory, wal_1=plain(1, range(1, 100)))
    real = seal_module._compress

    def spoil(segment: Segment, source: int, target: int, *rest: Any) -> object:
        deflate = real(segment, source, target, *rest)
        os.ftruncate(target, os.fstat(target).st_size - 1)
        return deflate

    monkeypatch.setattr(seal_module, "_compress", spoil)
    with pytest.raises(SealError, match="can't be read back"):
        seal_segment(directory, segment)
    assert list(folders.tree(directory.path)) == ["wal-1.v1"]


def test_a_kill_at_any_call_leaves_one_or_both_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = plain(1, range(1, 30))
    start = put(tmp_path / "start", wal_1=content)

    def work(path: Path) -> None:
        with Directory(path) as directory:
            seal_segment(directory, directory.segments()[0])

    states = set()
    for _, left in folders.every_kill(monkeypatch, start, work):
        with Directory(left) as directory:
            for segment in directory.segments():
                assert not check_segment(segment).faults
            states.add(tuple(segment.name for segment in directory.segments()))
    assert states == {("wal-1.v1",), ("wal-1.v1", "wal-1.v1.gz"), ("wal-1.v1.gz",)}


def test_the_plain_file_goes_only_after_the_sealed_one_is_on_disk(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segment,) = made(directory, wal_1=plain(1, [1]))
    with folders.failing(monkeypatch, 0, folders.Killed, for_ever=False) as calls:
        seal_segment(directory, segment)
    assert [c for c in calls if c not in ("write", "fchmod")] == [
        "open", "fdatasync", "link", "unlink", "unlink", "fsync", "unlink", "fsync"
    ]  # fmt: skip


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def test_the_sealer_seals_what_is_submitted_and_ends(directory: Directory) -> None:
    segments = made(directory, wal_1=plain(1, [1]), wal_2=plain(2, [2]), wal_3=plain(3, [3])[:-1])
    sealer = Sealer(directory)
    for segment in segments:
        sealer.submit(segment)
    assert sealer.close(10)
    assert sealer.close(10)
    assert (sealer.sealed, sealer.failed, sealer.backlog) == (2, 1, 0)
    assert sealer.failures[0].segment == "wal-3.v1"
    assert "damaged" in sealer.failures[0].reason
    assert sorted(folders.tree(directory.path)) == ["wal-1.v1.gz", "wal-2.v1.gz", "wal-3.v1"]


def test_a_full_disk_is_logged_and_the_next_segment_is_sealed(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = made(directory, wal_1=plain(1, [1]), wal_2=plain(2, [2]))
    sealer = Sealer(directory)
    with folders.failing(monkeypatch, 2, lambda: OSError(errno.ENOSPC, "No space"), for_ever=False):
        sealer.submit(one)
        wait_for(lambda: sealer.failed == 1)
    sealer.submit(two)
    assert sealer.close(10)
    assert sorted(folders.tree(directory.path)) == ["wal-1.v1", "wal-2.v1.gz"]
    assert [r.levelno for r in caplog.records if "wal-1.v1 stays plain" in r.message] == [logging.WARNING]


def test_no_thread_is_started_before_it_is_needed_and_an_idle_one_waits(directory: Directory) -> None:
    before = threading.active_count()
    sealer = Sealer(directory)
    sealer.notify(directory.path)
    assert threading.active_count() == before
    assert sealer.stop() == []
    assert sealer.close(0)
    assert threading.active_count() == before


def test_the_listener_is_called_in_order_and_may_fail(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []
    go = threading.Event()

    def listen(path: Path) -> None:
        called.append(path.name)
        go.wait(10)
        if path.name == "b":
            sys.exit("not here")

    sealer = Sealer(directory, on_force=listen)
    for name in ("a", "b", "b", "c", "b"):
        sealer.notify(Path(name))
        if name == "a":
            wait_for(lambda: called == ["a"])
    (segment,) = made(directory, wal_1=plain(1, [1]))
    sealer.submit(segment)
    go.set()
    assert sealer.close(10)
    assert called == ["a", "b", "c", "b", "wal-1.v1.gz"]
    assert sum("on_force failed" in record.message for record in caplog.records) == 2


@pytest.fixture
def indexing(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """In place of the making of indexes, which takes until `go` is set: the names `begun` and `made`."""
    told: dict[str, Any] = {"begun": [], "made": [], "go": threading.Event()}

    def make(_: Directory, segment: Segment, pause: Callable[[], None]) -> bool:
        told["begun"].append(segment.name)
        while not told["go"].is_set():
            pause()
            time.sleep(0.001)
        told["made"].append(segment.name)
        return True

    monkeypatch.setattr(seal_module, "index_segment", make)
    return told


def test_an_index_being_made_gives_way_to_a_segment_and_is_made_afterwards(
    directory: Directory, indexing: dict[str, Any]
) -> None:
    one, two, three = made(
        directory, wal_1_gz=sealed(plain(1, [1]), 1), wal_2_gz=sealed(plain(2, [2]), 2), wal_3=plain(3, [3])
    )
    sealer = Sealer(directory)
    sealer.index([one, two])
    wait_for(lambda: indexing["begun"] == [one.name])
    assert (sealer.index_backlog, sealer.backlog) == (2, 0)
    sealer.submit(three)
    wait_for(lambda: sealer.sealed == 1)
    wait_for(lambda: len(indexing["begun"]) == 2)
    assert indexing["made"] == []
    assert sealer.index_backlog == 2
    indexing["go"].set()
    wait_for(lambda: sealer.index_backlog == 0)
    assert sorted(indexing["made"]) == [one.name, two.name]
    assert sealer.close(10)


@pytest.mark.parametrize("how", ["close", "stop"])
def test_indexes_are_given_up_at_once(directory: Directory, indexing: dict[str, Any], how: str) -> None:
    one, two = made(directory, wal_1_gz=sealed(plain(1, [1]), 1), wal_2_gz=sealed(plain(2, [2]), 2))
    sealer = Sealer(directory)
    sealer.index([one, two])
    wait_for(lambda: indexing["begun"] == [one.name])
    if how == "stop":
        assert sealer.stop() == []
        assert sealer.index_backlog == 0  # what was begun is let go of when stop returns
        time.sleep(0.02)
    assert sealer.close(10)
    assert (indexing["begun"], indexing["made"], sealer.index_backlog) == ([one.name], [], 0)


def test_stop_returns_when_the_index_being_made_touches_nothing_any_more(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def make(*_: object) -> bool:
        begun.set()
        go.wait(10)
        return True

    monkeypatch.setattr(seal_module, "index_segment", make)
    (one,) = made(directory, wal_1_gz=sealed(plain(1, [1]), 1))
    sealer = Sealer(directory)
    sealer.index([one])
    assert begun.wait(10)
    stopping = threading.Thread(target=sealer.stop)
    stopping.start()
    stopping.join(0.05)
    assert stopping.is_alive()
    go.set()
    stopping.join(10)
    assert not stopping.is_alive()
    assert sealer.close(10)


@pytest.mark.parametrize("error", [MemoryError("no"), OverflowError("no"), OSError(errno.ENOSPC, "no")])
def test_a_segment_is_sealed_without_an_index_that_cannot_be_made(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(seal_module.IndexBuilder, "finish", refuse)
    (segment,) = made(directory, wal_5=plain(3, range(5, 4000)))
    seal_segment(directory, segment)
    assert sorted(folders.tree(directory.path)) == ["wal-5.v1.gz"]
    assert "no index was made" in caplog.text


def test_a_segment_that_has_a_summary_stays_plain(directory: Directory) -> None:
    content = plain(1, [1, 2])
    (segment,) = made(directory, wal_1=content + oracle.summary_frame(2, zlib.crc32(content)))
    with pytest.raises(SealError, match="has a summary"):
        seal_segment(directory, segment)
    assert sorted(folders.tree(directory.path)) == ["wal-1.v1"]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_sealing_gives_way_to_everything_else(directory: Directory) -> None:
    found: list[int] = []
    before = os.getpriority(os.PRIO_PROCESS, 0)
    sealer = Sealer(directory, on_force=lambda _path: found.append(os.getpriority(os.PRIO_PROCESS, 0)))
    sealer.notify(Path("a"))
    assert sealer.close(10)
    assert found == [seal_module.NICENESS]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_stop_gives_up_the_seal_and_tells_what_waits(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = made(directory, wal_1=plain(1, [1]), wal_2=plain(2, [2]))
    started, go = threading.Event(), threading.Event()
    real = seal_module._compress

    def slowly(*args: Any) -> object:
        started.set()
        go.wait(10)
        return real(*args)

    monkeypatch.setattr(seal_module, "_compress", slowly)
    sealer = Sealer(directory)
    for segment in segments:
        sealer.submit(segment)
    assert started.wait(10)
    assert sealer.backlog == 2
    threading.Timer(0.05, go.set).start()
    assert sealer.stop() == segments
    assert (sealer.backlog, sealer.sealed) == (0, 0)
    assert sorted(folders.tree(directory.path)) == ["wal-1.v1", "wal-2.v1"]
    sealer.submit(segments[1])
    assert sealer.close(10)
    assert sorted(folders.tree(directory.path)) == ["wal-1.v1", "wal-2.v1.gz"]


def test_close_with_a_timeout_may_be_called_again(directory: Directory) -> None:
    go = threading.Event()
    sealer = Sealer(directory, on_force=lambda _path: go.wait(10))
    sealer.notify(Path("a"))
    assert not sealer.close(0.01)
    go.set()
    assert sealer.close()


def test_where_no_thread_may_start_nothing_is_sealed_and_close_calls_the_listener(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    called: list[Path] = []
    sealer = Sealer(directory, on_force=called.append)
    sealer.submit(made(directory, wal_1=plain(1, [1]))[0])
    sealer.notify(Path("a"))
    assert called == []
    assert sealer.close()
    assert called == [Path("a")]
    assert sorted(folders.tree(directory.path)) == ["wal-1.v1"]


def test_a_listener_may_stop_and_close_the_sealer_that_calls_it(directory: Directory) -> None:
    ended = threading.Event()

    def listen(_path: Path) -> None:
        sealer.stop()
        sealer.close()
        ended.set()

    sealer = Sealer(directory, on_force=listen)
    sealer.notify(Path("a"))
    assert ended.wait(10)
    assert sealer.close(10)
