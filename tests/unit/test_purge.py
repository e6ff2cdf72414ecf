"""Purge: all or later, nothing but what the marker lists, and LSNs go on."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import folders
import oracle
import pytest
from folders import STORE, lsns, plain, put, sealed

import walcore
from walcore import system
from walcore.errors import CorruptionError
from walcore.format import PURGE_NAME
from walcore.opening import open_directory
from walcore.purge import begun, carry_out, mark
from walcore.segments import Directory
from walcore.state import read_state


def start(tmp_path: Path) -> Path:
    one = plain(1, [1, 2])
    return put(tmp_path / "wal", wal_1_gz=sealed(one, 2), wal_3=plain(2, [3]), wal_4=plain(3, [4]), wal_9=b"")


def purge(path: Path) -> int:
    with Directory(path) as directory:
        return carry_out(directory, mark(directory, 5, STORE))


def test_a_purge_leaves_a_state_and_begins_at_1(tmp_path: Path) -> None:
    path = start(tmp_path)
    (path / "wal-5.v1").symlink_to("elsewhere")
    (path / "other").write_bytes(b"not ours")
    assert purge(path) == 1
    assert sorted(p.name for p in path.iterdir()) == ["other", "wal-5.v1", "walcore.state"]
    with Directory(path) as directory:
        state = read_state(directory)
    assert state is not None
    assert (state.last_lsn, state.number, state.first_number, state.store) == (4, 0, 1, STORE)
    assert not (path / "walcore.purge").exists()


def test_segments_go_from_the_highest_number_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = start(tmp_path)
    left = []
    for _, copy in folders.every_kill(monkeypatch, path, purge):
        names = [name for name in folders.tree(copy) if name.startswith("wal-")]
        if names not in left:
            left.append(names)
    full = ["wal-1.v1.gz", "wal-3.v1", "wal-4.v1", "wal-9.v1"]
    without = lambda *gone: [name for name in full if name not in gone]  # noqa: E731
    assert left == [
        full,
        without("wal-4.v1"),
        without("wal-4.v1", "wal-3.v1"),
        ["wal-9.v1"],
        [],
    ]


@pytest.mark.parametrize("error", [folders.Killed, lambda: OSError(errno.EIO, "Input/output error")])
def test_a_purge_cut_off_anywhere_is_finished_or_never_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    path = start(tmp_path)
    outcomes = []
    for nth, copy in folders.every_kill(monkeypatch, path, purge, error):
        began = (copy / "walcore.purge").exists()
        with Directory(copy) as directory:
            opening = open_directory(directory, STORE)
        names = [name for name in folders.tree(copy) if name.startswith("wal-")]
        if nth and not began and names:
            assert names == ["wal-1.v1.gz", "wal-3.v1", "wal-4.v1"]
            assert (opening.next_number, opening.purge_finished) == (4, False)
            outcomes.append("never began")
        else:
            assert (names, opening.next_number) == ([], 1)
            outcomes.append("finished" if opening.purge_finished else "done")
        assert opening.next_lsn == 5
        assert not (copy / "walcore.purge").exists()
    assert outcomes == sorted(outcomes, key=["never began", "finished", "done"].index)
    assert set(outcomes) == {"never began", "finished", "done"}


def test_the_opening_that_finishes_a_purge_may_be_killed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = start(tmp_path)
    (path / "wal-9.v1").unlink()  # known by its inode, which a copy of the directory doesn't keep
    with Directory(path) as directory:
        mark(directory, 5, STORE)

    def reopen(copy: Path) -> None:
        with Directory(copy) as directory:
            open_directory(directory, None)

    for _, copy in folders.every_kill(monkeypatch, path, reopen):
        with Directory(copy) as directory:
            opening = open_directory(directory, None)
        assert (opening.next_lsn, opening.next_number, opening.has_segments) == (5, 1, False)
        assert sorted(folders.tree(copy)) == ["walcore.state"]


def test_what_was_written_since_the_marker_stays(tmp_path: Path) -> None:
    path = start(tmp_path)
    with Directory(path) as directory:
        marker = mark(directory, 5, STORE)
        put(path, wal_4=plain(8, [5]), wal_6=plain(9, [6]), wal_9=b"more")
        marked = begun(directory)
        assert marked == marker
        assert marked is not None
        assert [s.name for s in directory.segments() if not marked.lists(s)] == ["wal-9.v1", "wal-4.v1", "wal-6.v1"]
        assert carry_out(directory, marker) == 10
        state = read_state(directory)
        assert state is not None
        assert (state.first_number, state.clean) == (8, False)
        opening = open_directory(directory, None)
    assert (opening.next_lsn, opening.next_number, opening.faults) == (7, 10, ())


def test_readers_are_told_what_counts_as_gone(tmp_path: Path) -> None:
    path = start(tmp_path)
    with Directory(path) as directory:
        mark(directory, 5, STORE)
        marker = directory.read_marker()
        assert marker is not None
        assert all(marker.lists(segment) for segment in directory.segments())


def test_a_damaged_marker_stops_the_opening_and_nothing_is_deleted(tmp_path: Path) -> None:
    path = start(tmp_path)
    (path / "walcore.purge").write_bytes(b"{}")
    before = folders.tree(path)
    with Directory(path) as directory, pytest.raises(CorruptionError, match=r"walcore\.purge is damaged"):
        open_directory(directory, None)
    assert folders.tree(path) == before


def test_what_is_logged_while_a_purge_begins_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, goes_on, rename = threading.Event(), threading.Event(), system.calls.rename
    logged: list[int] = []

    def slow(source: str, target: str, **folders: Any) -> None:
        if target == PURGE_NAME:
            begun.set()
            goes_on.wait(20)
        rename(source, target, **folders)

    monkeypatch.setattr(system.calls, "rename", slow)
    with walcore.open(tmp_path / "wal") as wal:
        wal.commit(wal.log_mint(1, "I", "x"))
        purger = threading.Thread(target=wal.purge_all_segments, daemon=True)
        purger.start()
        assert begun.wait(20)
        producer = threading.Thread(target=lambda: logged.append(wal.log_mint(2, "I", "y")), daemon=True)
        producer.start()
        producer.join(0.2)
        goes_on.set()
        for thread in (purger, producer):
            thread.join(20)
            assert not thread.is_alive()
        wal.await_durable(logged[0], timeout=20)
        assert [record.id for record in walcore.read(tmp_path / "wal")] == [2]


def test_a_purge_drops_what_came_before_and_lsns_go_on(tmp_path: Path) -> None:
    with walcore.open(tmp_path, max_segment_bytes=1024) as wal:
        for i in range(50):
            wal.log_mint(i, "I", "urn:before")
        wal.commit()
        wal.log_mint(50, "I", "urn:unwritten")
        wal.purge_all_segments()
        assert wal.durable_lsn == wal.last_lsn == 51
        assert list(tmp_path.glob("wal-*")) == []
        assert wal.log_mint(7, "I", "urn:after") == 52
        wal.commit()
        header, _ = oracle.frames((tmp_path / "wal-7.v1").read_bytes())
        assert oracle.parse(header)["segment"] == 1
        wal.purge_all_segments()
    assert lsns(tmp_path) == []
    with walcore.open(tmp_path) as wal:
        assert wal.log_mint(8, "I", "urn:x") == 53


@pytest.mark.parametrize("call", ["fsync", "rename", "fdatasync"])
def test_a_purge_that_may_have_begun_fails_the_log_and_one_that_has_not_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def no_room(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    wal = walcore.open(tmp_path)
    wal.log_mint(1, "I", "a")
    wal.commit()
    with monkeypatch.context() as patch:
        patch.setattr(system.calls, call, no_room)
        with pytest.raises(walcore.WalFailedError if call == "fsync" else OSError, match="full"):
            wal.purge_all_segments()
    if call == "fsync":
        with pytest.raises(walcore.WalFailedError):
            wal.log_mint(2, "I", "b")
        with pytest.raises(walcore.WalFailedError):
            wal.close()
    else:
        wal.log_mint(2, "I", "b")
        wal.close()
        assert lsns(tmp_path) == [1, 2]


def test_a_purge_deletes_what_could_not_be_read_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with walcore.open(tmp_path) as wal:
        wal.log_mint(1, "I", "a")
        wal.commit()
        real, hits = os.open, []

        def flaky(path: Any, *arguments: Any, **options: Any) -> int:
            if str(path).endswith("wal-1.v1") and not hits:
                hits.append(path)
                raise PermissionError(errno.EACCES, "for a moment", path)
            return real(path, *arguments, **options)

        monkeypatch.setattr(system.calls, "open", flaky)
        wal.purge_all_segments()
    assert hits
    assert lsns(tmp_path) == []
