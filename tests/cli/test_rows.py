"""Every number that the commands tell of a log made by hand, as JSON and for a person."""

from __future__ import annotations

import json

import folders
import openings
import oracle
import pytest

pytest.importorskip("rich")

from walcore.cli.output import size

SEALED = folders.sealed(folders.plain(2, range(6, 10)), 9)
LAST = folders.plain(3, [10, 11])


@pytest.fixture
def wal(tmp_path):
    folders.put(tmp_path / "wal", wal_1=folders.FIRST, wal_6_gz=SEALED, wal_10=LAST)
    openings.close_cleanly(tmp_path / "wal", 11)
    return tmp_path / "wal"


def rows(done):
    return [json.loads(line) for line in done.lines]


def words(done):
    return [" ".join(line.split()) for line in done.lines]


NONE_BESIDE = {
    "indexes": 0, "indexes_stale": 0, "indexes_damaged": 0, "index_bytes": 0, "quarantine_files": 0,
    "quarantine_bytes": 0,
}  # fmt: skip


def test_info_tells_of_the_log_and_each_segment(run, wal):
    log, *segments = rows(run("info", wal, "--json"))
    assert log == {
        "what": "log", "directory": str(wal), "store": folders.STORE, "segments": 3, "sealed": 1,
        "bytes": len(folders.FIRST) + len(SEALED) + len(LAST), "first_segment": 1, "last_segment": 3, "writing": False,
        "closed_cleanly": True, "last_lsn_noted": 11, **NONE_BESIDE,
    }  # fmt: skip
    assert segments[1] == {
        "what": "segment", "number": 2, "name": "wal-6.v1.gz", "sealed": True, "bytes": len(SEALED), "first_id": 6,
        "created": 1_700_000_000, "store": folders.STORE, "problem": None,
    }  # fmt: skip
    assert [one["number"] for one in segments] == [1, 2, 3]


def test_info_shows_the_same(run, wal):
    shown = words(run("info", wal))
    assert f"segments 3, 1 of them sealed, {size(len(folders.FIRST) + len(SEALED) + len(LAST))}" in shown
    assert "writer none; closed cleanly: yes" in shown
    assert "last LSN 11 when last noted" in shown
    assert f"2 wal-6.v1.gz sealed {len(SEALED)} 6 2023-11-14 22:13:20" in shown
    assert f"3 wal-10.v1 plain {len(LAST)} 10 2023-11-14 22:13:20" in shown


def test_of_a_log_without_a_state_or_a_header_nothing_is_noted(run, tmp_path):
    wal = folders.put(tmp_path / "wal", wal_1=b"")
    log, segment = rows(run("info", wal, "--json"))
    assert (log["store"], log["first_segment"], log["last_segment"]) == (None, None, None)
    assert (log["closed_cleanly"], log["last_lsn_noted"]) == (None, None)
    assert (segment["number"], segment["first_id"], segment["created"], segment["problem"]) == (
        None, None, None, "empty",
    )  # fmt: skip
    shown = words(run("info", wal))
    assert "store none yet" in shown
    assert "writer none; closed cleanly: not told" in shown
    assert "last LSN not noted" in shown
    assert "- wal-1.v1 empty 0 - -" in shown


def test_a_log_that_was_not_closed_is_told_so(run, wal):
    openings.close_cleanly(wal, 11, clean=False)
    assert rows(run("info", wal, "--json"))[0]["closed_cleanly"] is False
    assert "writer none; closed cleanly: no" in words(run("info", wal))


@pytest.mark.parametrize("created", [2**62, -(2**62)])
def test_a_time_that_is_none_is_shown_as_its_number(run, tmp_path, created):
    wal = folders.put(tmp_path / "wal", wal_1=oracle.header_frame(folders.STORE, created, 1, 1))
    assert any(line.endswith(f" {created}") for line in words(run("info", wal)))


def test_verify_tells_what_was_read(run, wal, monkeypatch):
    seconds = iter([100.0, 100.5])
    monkeypatch.setattr("walcore.cli.verify.time.perf_counter", lambda: next(seconds))
    (log,) = rows(run("verify", wal, "--json"))
    assert log == {
        "what": "log", "directory": str(wal), "complete": True, "segments": 3,
        "bytes": len(folders.FIRST) + len(SEALED) + len(LAST), "records": 11, "first_lsn": 1, "last_lsn": 11,
        "faults_left_out": 0, "iris": 11, "blank_nodes": 0, "literals": 0, "namespaces": 0, **NONE_BESIDE,
        "seconds": 0.5,
    }  # fmt: skip
    seconds = iter([100.0, 100.5])
    shown = words(run("verify", wal))
    assert shown[0] == f"{wal} complete"
    assert "records 11 LSN 1 to 11, read at 22/s" in shown
    assert "IRIs 11" in shown
    assert "literals 0" in shown
    assert not any(line.startswith(("indexes", "quarantine")) for line in shown)


def test_verify_tells_of_damage_and_how_to_go_on(run, wal):
    damaged = bytearray(folders.FIRST)
    damaged[damaged.index(b"urn:3")] ^= 1
    folders.put(wal, wal_1=bytes(damaged))
    done = run("verify", wal, "--json")
    log, fault = rows(done)
    assert (done.status, log["complete"], log["records"]) == (1, False, 10)
    offset = len(folders.FIRST) - sum(len(folders.mint(lsn)) for lsn in (3, 4, 5))
    assert fault == {
        "what": "fault", "kind": "corrupt_frame", "segment": "wal-1.v1", "offset": offset, "lsn_before": 2,
        "lsn_after": 4, "detail": fault["detail"],
    }  # fmt: skip
    done = run("verify", wal)
    assert words(done)[0] == f"{wal} DAMAGED: values may be missing"
    assert any(
        line.startswith(f"corrupt_frame wal-1.v1 {offset} behind LSN 2 and before LSN 4 ") for line in words(done)
    )
    assert done.err == f"walcore: walcore repair {wal} tells what can be saved, and changes nothing\n"


def test_faults_that_are_not_listed_are_counted_and_are_damage(run, wal, monkeypatch):
    damaged = bytearray(folders.FIRST)
    for value in (b"urn:1", b"urn:3", b"urn:5"):
        damaged[damaged.index(value)] ^= 1
    folders.put(wal, wal_1=bytes(damaged))
    for limit, more in ((3, ""), (2, "and 1 fault more"), (1, "and 2 faults more")):
        monkeypatch.setattr("walcore.reader.MAX_FAULTS", limit)
        shown = words(run("verify", wal))
        assert sum(line.startswith("corrupt_frame ") for line in shown) == limit
        assert [line for line in shown if line.startswith("and ")] == ([more] if more else [])
        done = run("cat", wal, "--mode", "salvage")
        said = [line.removeprefix("walcore: ") for line in done.err.splitlines()]
        assert (done.status, sum(line.startswith("corrupt_frame: ") for line in said)) == (1, limit)
        assert said[limit:] == [*filter(None, [more]), "the log is damaged (3 faults): values may be missing"]


def test_verify_of_a_log_without_records_has_no_lsns(run, tmp_path):
    wal = folders.put(tmp_path / "wal", wal_1=folders.plain(1, []))
    (log,) = rows(run("verify", wal, "--json"))
    assert (log["records"], log["first_lsn"], log["last_lsn"], log["segments"]) == (0, None, None, 1)
    assert any(line.startswith("records 0 no record, read at ") for line in words(run("verify", wal)))


def test_the_bar_of_verify_stands_for_the_segments_that_are_done(run, wal, monkeypatch):
    steps = []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_task(self, name, total):
            steps.append((name, total))

        def update(self, _, completed):
            steps.append(completed)

    monkeypatch.setattr("walcore.cli.verify.progress", Bar)
    run("verify", wal)
    assert steps[0] == ("reading segments", 3)
    assert sorted(set(steps[1:])) == steps[1:] == [0, 1, 2]


def test_recover_tells_what_was_written_and_what_was_not(run, wal, tmp_path):
    target = tmp_path / "values"
    (row,) = rows(run("recover", wal, "-o", target, "--json"))
    assert row == {
        "what": "recovery", "directory": str(wal), "output": str(target), "values": 11, "records": 11,
        "complete": True, "conflicts_left_out": 0,
    }  # fmt: skip
    assert [json.loads(line)["id"] for line in target.read_text().splitlines()] == list(range(1, 12))
    (wal / "wal-6.v1.gz").unlink()
    target.unlink()
    done = run("recover", wal, "-o", target, "--json")
    row, fault = rows(done)
    assert (done.status, row["output"], row["values"], row["complete"]) == (1, None, 7, False)
    assert (fault["kind"], fault["lsn_before"], fault["lsn_after"]) == ("missing_segment", 5, 10)
    assert not target.exists()


def test_conflicts_that_have_no_room_in_a_list_are_counted(run, tmp_path, monkeypatch):
    twice = folders.plain(1, [1, 2, 3]) + b"".join(
        oracle.mint_frame(lsn, lsn - 3, "B", "b", "", "", 0) for lsn in (4, 5, 6)
    )
    wal = folders.put(tmp_path / "wal", wal_1=twice)
    told = [f"walcore: id {id} has two values: _:b is taken, <urn:{id}> is not" for id in (1, 2, 3)]
    for limit, more in ((3, []), (2, ["walcore: and 1 conflict more"]), (1, ["walcore: and 2 conflicts more"])):
        monkeypatch.setattr("walcore.recovery.MAX_CONFLICTS", limit)
        done = run("recover", wal, "-o", "-", "--max-memory", 1)
        assert (done.status, done.err.splitlines()) == (0, [*told[:limit], *more])
