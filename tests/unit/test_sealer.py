"""The thread that seals: its order, its end, its manners, and who waits for it."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folders
import pytest
from folders import made, plain, put, sealed

import walcore
from walcore import seal as seal_module
from walcore.sealer import NICENESS, Sealer

if TYPE_CHECKING:
    from walcore.segments import Directory, Segment


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


def test_an_index_that_can_not_be_made_is_told_and_the_next_one_is_made(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def make(_: Directory, segment: Segment, pause: Callable[[], None]) -> bool:
        tried.append(segment.name)
        pause()
        if len(tried) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return True

    monkeypatch.setattr(seal_module, "index_segment", make)
    segments = made(directory, wal_1_gz=sealed(plain(1, [1]), 1), wal_2_gz=sealed(plain(2, [2]), 2))
    sealer = Sealer(directory)
    sealer.index(segments)
    wait_for(lambda: sealer.index_backlog == 0)
    assert sealer.close(10)
    assert sorted(tried) == ["wal-1.v1.gz", "wal-2.v1.gz"]
    assert caplog.messages == [f"{directory.path / tried[0]}: no index was made: [Errno 5] Input/output error"]


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


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_sealing_gives_way_to_everything_else(directory: Directory) -> None:
    found: list[int] = []
    before = os.getpriority(os.PRIO_PROCESS, 0)
    sealer = Sealer(directory, on_force=lambda _path: found.append(os.getpriority(os.PRIO_PROCESS, 0)))
    sealer.notify(Path("a"))
    assert sealer.close(10)
    assert found == [NICENESS]
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


@pytest.fixture
def slow_seals(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """In place of sealing, which takes until `go` is set: names that were `begun` and `given_up`, and `priorities`."""
    told: dict[str, Any] = {"begun": [], "given_up": [], "priorities": [], "go": threading.Event()}

    def work(_: Directory, segment: Segment, pause: Callable[[], None]) -> Path:
        told["begun"].append(segment.name)
        told["priorities"].append(os.getpriority(os.PRIO_PROCESS, 0))
        try:
            end = time.monotonic() + 20  # of a test that failed before
            while not told["go"].is_set() and time.monotonic() < end:
                pause()
                time.sleep(0.001)
        except Exception:
            told["given_up"].append(segment.name)
            raise
        return segment.path

    monkeypatch.setattr(seal_module, "seal_segment", work)
    return told


def waiter(sealer: Sealer) -> threading.Thread:
    thread = threading.Thread(target=sealer.wait_for_room, daemon=True)
    thread.start()
    return thread


def assert_waits_for_a_seal(thread: threading.Thread, slow_seals: dict[str, Any]) -> None:
    thread.join(0.05)
    assert thread.is_alive()
    slow_seals["go"].set()
    thread.join(10)
    assert not thread.is_alive()


def submitted(sealer: Sealer, directory: Directory, count: int) -> list[Segment]:
    segments = made(directory, **{f"wal_{number}": plain(number, [number]) for number in range(1, count + 1)})
    for segment in segments:
        sealer.submit(segment)
    return segments


def test_who_logs_faster_than_is_sealed_waits_for_one_seal(directory: Directory, slow_seals: dict[str, Any]) -> None:
    sealer = Sealer(directory, most=3)
    one, *_ = submitted(sealer, directory, 2)
    sealer.wait_for_room()
    sealer.submit(one)
    thread = waiter(sealer)
    assert_waits_for_a_seal(thread, slow_seals)
    assert sealer.close(10)
    assert (sealer.sealed, sealer.failed) == (3, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_who_waits_is_served_by_a_thread_that_gives_way_to_nobody_until_all_is_sealed(
    directory: Directory, slow_seals: dict[str, Any]
) -> None:
    sealer = Sealer(directory, most=2)
    one, two = submitted(sealer, directory, 2)
    wait_for(lambda: slow_seals["begun"] == [one.name])
    thread = waiter(sealer)
    wait_for(lambda: len(slow_seals["begun"]) == 2)
    assert slow_seals["given_up"] == [one.name]
    assert sealer.backlog == 2
    slow_seals["go"].set()
    thread.join(10)
    wait_for(lambda: sealer.backlog == 0)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert slow_seals["begun"] == [one.name, one.name, two.name]
    assert slow_seals["priorities"] == [NICENESS, ours, ours]
    sealer.submit(one)
    wait_for(lambda: sealer.sealed == 3)
    assert slow_seals["priorities"][3:] == [NICENESS]
    assert [thread.name for thread in threading.enumerate()].count("walcore-sealer") == 1
    assert sealer.close(10)
    assert "walcore-sealer" not in [thread.name for thread in threading.enumerate()]


def test_nobody_waits_for_a_listener(directory: Directory, slow_seals: dict[str, Any]) -> None:
    go = threading.Event()
    sealer = Sealer(directory, most=1, on_force=lambda _path: go.wait(10))
    submitted(sealer, directory, 1)
    wait_for(lambda: slow_seals["begun"] != [])
    thread = waiter(sealer)
    thread.join(0.05)
    assert thread.is_alive()
    sealer.notify(Path("a"))
    thread.join(10)
    assert not thread.is_alive()
    assert sealer.backlog == 1
    go.set()
    slow_seals["go"].set()
    assert sealer.close(10)


@pytest.mark.parametrize("how", ["stop", "retire"])
def test_nobody_waits_for_seals_that_are_given_up(directory: Directory, slow_seals: dict[str, Any], how: str) -> None:
    sealer = Sealer(directory, most=2)
    segments = submitted(sealer, directory, 3)
    thread = waiter(sealer)
    # Whatever the moment at which one thread takes the place of another.
    wait_for(lambda: len(slow_seals["begun"]) == 2)
    getattr(sealer, how)()
    thread.join(10)
    assert not thread.is_alive()
    assert sealer.backlog == 0
    assert slow_seals["given_up"] == [segments[0].name] * 2
    assert sealer.close(10)


def test_the_other_thread_begins_when_the_first_has_let_go(
    directory: Directory, slow_seals: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_listener, go, call = threading.Event(), threading.Event(), Sealer._call_listener

    def slowly(self: Sealer) -> None:
        if not at_listener.is_set():
            at_listener.set()
            go.wait(10)
        call(self)

    monkeypatch.setattr(Sealer, "_call_listener", slowly)
    called: list[Path] = []
    sealer = Sealer(directory, most=1, on_force=called.append)
    sealer.notify(Path("a"))
    assert at_listener.wait(10)
    (one,) = submitted(sealer, directory, 1)
    thread = waiter(sealer)
    wait_for(lambda: [thread.name for thread in threading.enumerate()].count("walcore-sealer") == 2)
    time.sleep(0.02)
    assert slow_seals["begun"] == []
    go.set()
    wait_for(lambda: slow_seals["begun"] == [one.name])
    assert sealer.backlog == 1
    slow_seals["go"].set()
    thread.join(10)
    assert sealer.close(10)
    assert (sealer.sealed, called) == (1, [Path("a"), one.path])


def test_nobody_waits_where_nothing_is_sealed(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sealer = Sealer(directory, most=1)
    submitted(sealer, directory, 2)
    sealer.wait_for_room()
    assert sealer.close()


def test_where_no_other_thread_may_start_the_one_that_gives_way_is_waited_for(
    directory: Directory, slow_seals: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sealer = Sealer(directory, most=1)
    submitted(sealer, directory, 1)
    wait_for(lambda: slow_seals["begun"] != [])
    thread = threading.Thread(target=sealer.wait_for_room, daemon=True)
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "walcore-sealer":
            raise MemoryError
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread.start()
    assert_waits_for_a_seal(thread, slow_seals)
    assert sealer.close(10)
    assert (sealer.sealed, slow_seals["given_up"]) == (1, [])


def test_a_log_has_no_more_segments_to_seal_than_it_may(tmp_path: Path, slow_seals: dict[str, Any]) -> None:
    with walcore.open(tmp_path / "wal", max_segment_bytes=1024, max_unsealed_segments=3) as wal:
        last = 0
        for number in range(1, 41):
            last = wal.log_mint(number, "L", "x" * 300)
        try:
            with pytest.raises(walcore.WalTimeoutError):
                wal.await_durable(last, timeout=0.1)
            wait_for(lambda: wal.stats().seal_backlog == 3)
            time.sleep(0.05)
            assert wal.stats().seal_backlog == 3
        finally:
            slow_seals["go"].set()
        wal.await_durable(last)
        assert wal.stats().seal_backlog <= 3


def test_what_opening_found_holds_up_nobody(tmp_path: Path, slow_seals: dict[str, Any]) -> None:
    put(tmp_path / "wal", **{f"wal_{number}": plain(number, [number]) for number in range(1, 6)})
    with walcore.open(tmp_path / "wal", max_segment_bytes=1024, max_unsealed_segments=2) as wal:
        assert wal.stats().seal_backlog >= 4
        for number in range(6, 9):
            wal.await_durable(wal.log_mint(number, "L", "x" * 300), timeout=10)
        slow_seals["go"].set()
