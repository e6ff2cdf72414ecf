"""load, purge and demo: what they leave in the log."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pty
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import folders
import pytest
from commands import content, run_alone, spawn

import walcore
from walcore.cli import demo, load
from walcore.faults import Fault, FaultKind

pytest.importorskip("pyoxigraph")


def rows(done):
    return [json.loads(line) for line in done.lines]


def values(directory):
    return {record.id: (str(record.kind), record.lexical) for record in walcore.read(directory)}


def test_load_logs_every_distinct_term_with_ids_from_1(run, turtle, tmp_path):
    wal = tmp_path / "wal"
    (result,) = rows(run("load", turtle, "--wal", wal, "--json"))
    label = hashlib.sha256(turtle.read_bytes()).hexdigest()[:16]
    assert (result["new"], result["left_out"], result["error"]) == (10, 0, None)
    assert values(wal) == {
        1: ("I", "http://e/a"),
        2: ("I", "http://e/b"),
        3: ("B", f"{label}-1"),
        4: ("L", "Zürich"),
        5: ("L", "5"),
        6: ("L", "x"),
        7: ("B", f"{label}-2"),
        8: ("I", "http://e/c"),
        9: ("I", "http://e/d"),
        10: ("N", "http://e/"),
    }


def test_a_second_load_of_the_same_file_mints_nothing(run, turtle, tmp_path):
    wal = tmp_path / "wal"
    run("load", turtle, "--wal", wal)
    before = list(walcore.read(wal))
    (result,) = rows(run("load", turtle, "--wal", wal, "--json"))
    assert result["new"] == 0
    assert list(walcore.read(wal)) == before


def test_ids_go_on_above_the_greatest(run, turtle, log):
    run("load", turtle, "--wal", log)
    minted = values(log)
    assert set(minted) == {-5, *range(1, 5), *range(5, 13)}  # http://e/a and the namespace were there
    assert minted[5] == ("I", "http://e/b")


def test_stdin_and_pipes_get_the_labels_of_the_same_bytes(run, turtle, tmp_path):
    wal = tmp_path / "wal"
    run("load", turtle, "--wal", wal)
    (result,) = rows(run("load", "-", "--format", "ttl", "--wal", wal, "--json", stdin=turtle.read_bytes()))
    assert (result["file"], result["new"]) == ("stdin", 0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(turtle.read_bytes()))
    feeder.start()
    (result,) = rows(run("load", pipe, "--format", "ttl", "--wal", wal, "--json"))
    feeder.join()
    assert result["new"] == 0


def test_cat_into_load_is_a_round_trip(run, log, tmp_path):
    text = run("cat", log, "--json").out
    copy = tmp_path / "copy"
    assert run("load", "-", "--wal", copy, stdin=text.encode()).status == 0
    assert run("cat", copy, "--json").out == text
    (result,) = rows(run("load", "-", "--wal", copy, "--json", stdin=text.encode()))
    assert result["new"] == 0


def test_a_record_without_id_gets_the_next_one(run, log):
    stdin = b'{"kind":"iri","lexical":"http://e/new"}\n{"kind":"I","lexical":"http://e/a"}\n'
    (result,) = rows(run("load", "-", "--wal", log, "--json", stdin=stdin))
    assert result["new"] == 1
    assert walcore.find(log, 5).lexical == "http://e/new"


def test_an_id_never_changes_its_meaning(run, log):
    done = run("load", "-", "--wal", log, stdin=b'{"id":1,"kind":"I","lexical":"http://e/other"}\n')
    assert done.status == 1
    assert "stdin:1: left out: id 1" in done.err
    assert walcore.find(log, 1).lexical == "http://e/a"


@pytest.mark.parametrize(
    "line",
    [
        b"nope", b"[]", b"{}", b'{"kind":"Q","lexical":"x"}', b'{"kind":"I"}', b'{"kind":"I","lexical":5}',
        b'{"kind":"I","lexical":"x","id":4294967296}', b'{"kind":"I","lexical":"x","id":true}', b"\xff",
        b'{"kind":"I","lexical":"x","language":"de"}', b'{"kind":"I","lexical":"x","hash":1.5}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_line_that_is_no_record_ends_the_file_and_is_named(run, tmp_path, line):
    wal = tmp_path / "wal"
    stdin = b'{"kind":"I","lexical":"first"}\n' + line + b'\n{"kind":"I","lexical":"last"}\n'
    done = run("load", "-", "--wal", wal, stdin=stdin)
    assert done.status == 4
    assert done.err.startswith("walcore: stdin:2: not a record: ")
    assert list(values(wal).values()) == [("I", "first")]


def test_a_line_that_is_too_long_to_be_a_record_ends_the_file_and_one_as_long_as_allowed_does_not(
    run, tmp_path, monkeypatch
):
    first, last = b'{"kind":"I","lexical":"first"}\n', b'{"kind":"I","lexical":"last"}\n'
    monkeypatch.setattr(load, "LINE_BYTES", len(first))
    assert run("load", "-", "--wal", tmp_path / "a", stdin=first + last).status == 0
    for long in (b" " + first, b'{"kind":"I","lexical":"' + b"x" * 1000 + b'"}\n'):
        done = run("load", "-", "--wal", tmp_path / "b", stdin=last + long + first)
        assert done.status == 4
        assert done.err.startswith(f"walcore: stdin:2: not a record: a line of more than {len(first)} bytes")
        assert list(values(tmp_path / "b").values()) == [("I", "last")]


def test_an_empty_line_is_passed_over(run, tmp_path):
    stdin = b'\n{"kind":"I","lexical":"first"}\n\n \r\n{"kind":"I","lexical":"last"}\n\n'
    done = run("load", "-", "--wal", tmp_path / "wal", "--json", stdin=stdin)
    (result,) = rows(done)
    assert (done.status, result["met"], result["new"], done.err) == (0, 2, 2, "")


def test_a_bad_line_behind_an_empty_one_has_its_number(run, tmp_path):
    done = run("load", "-", "--wal", tmp_path / "wal", stdin=b"\n\nnope\n")
    assert done.err.startswith("walcore: stdin:3: ")


def opens_with(monkeypatch, *faults):
    """From now on it is as if every opening had met these."""
    real = walcore.open

    class Met:
        def __init__(self, wal):
            self.wal = wal
            self.opening = replace(wal.opening, faults=faults)

        def __getattr__(self, name):
            return getattr(self.wal, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.wal.close()

    monkeypatch.setattr(walcore, "open", lambda directory: Met(real(directory)))


def test_nothing_is_minted_in_a_log_whose_opening_met_a_loss(run, log, turtle, monkeypatch):
    opens_with(monkeypatch, Fault(FaultKind.CORRUPT_FRAME, "wal-1.v1", 77, "bytes are gone", 5, None))
    done = run("load", turtle, "--wal", log, "--json")
    assert (done.status, done.out) == (1, "")
    assert "bytes are gone" in done.err
    assert "nothing is loaded" in done.err
    assert "given out again" in done.err
    assert len(values(log)) == 5


def test_a_tear_met_by_opening_keeps_no_term_out(run, log, turtle, monkeypatch):
    opens_with(
        monkeypatch, Fault(FaultKind.TORN_TAIL, "wal-1.v1", 77, "the end of a write that a crash cut off", 5, None)
    )
    assert run("load", turtle, "--wal", log).status == 0


def test_what_an_opening_cut_off_is_told_with_where_it_is_kept(run, turtle, tmp_path):
    torn = folders.plain(1, [1, 2])[:-3]
    wal = folders.put(tmp_path / "wal", wal_1=torn)
    done = run("load", turtle, "--wal", wal)
    (kept,) = (wal / "quarantine").iterdir()
    start = len(torn) - kept.stat().st_size
    told = f"walcore: left out on opening: {kept.stat().st_size} bytes from byte {start} of wal-1.v1 on ("
    assert done.status == 0
    assert done.err.splitlines()[0].startswith(told)
    assert done.err.splitlines()[0].endswith(f"); they are kept as quarantine/{kept.name}")


def test_nothing_is_minted_in_a_log_that_lost_its_last_segment(run, log, turtle):
    with walcore.open(log) as wal:
        wal.log_mint(6, "I", "http://e/x")
    last = next(path for path in log.glob("wal-*") if b"http://e/x" in content(path))
    last.unlink()
    done = run("load", turtle, "--wal", log)
    assert done.status == 1
    assert "nothing is loaded" in done.err
    assert len(list(log.glob("wal-*"))) == 1


def test_what_can_not_be_a_value_is_named_with_its_line_and_status_1(run, tmp_path):
    path = tmp_path / "data.nt"
    triple = "<http://e/a> <http://e/b> <http://e/c>"
    path.write_text(
        f'{triple} .\n<http://e/a> <http://e/b> <<( {triple} )>> .\n<http://e/a> <http://e/b> "x"@en--rtl .\n'
    )
    done = run("load", path, "--wal", tmp_path / "wal", "--json")
    assert done.status == 1
    assert [row["left_out"] for row in rows(done)] == [2]
    assert f"{path}:2: left out: a triple term" in done.err
    assert f"{path}:3: left out: a literal with a base direction" in done.err
    assert len(values(tmp_path / "wal")) == 3


def test_an_invalid_file_is_told_and_the_next_one_loaded(run, turtle, tmp_path):
    path = tmp_path / "bad.ttl"
    path.write_text("<http://e/1> <http://e/2> 3 .\n<relative> <http://e/2> 3 .\n")
    done = run("load", path, turtle, "--wal", tmp_path / "wal", "--json")
    assert done.status == 4
    assert f"{path}:2: No scheme found in an absolute IRI" in done.err
    assert [row["new"] for row in rows(done)] == [3, 10]


def test_an_unknown_format_is_refused_before_anything_is_made(run, tmp_path):
    path = tmp_path / "a.doc"
    path.write_text("x")
    assert run("load", path, "--wal", tmp_path / "wal").status == 2
    assert not (tmp_path / "wal").exists()


def test_a_damaged_log_takes_no_terms(run, damaged, turtle):
    done = run("load", turtle, "--wal", damaged)
    assert done.status == 1
    assert "corrupt_frame" in done.err
    assert len(values_of_damaged(damaged)) == 3


def values_of_damaged(directory):
    with pytest.warns(walcore.WalDamageWarning):
        return list(walcore.read(directory))


def test_purge_asks_first(run, log):
    for answer in (b"n\n", b""):
        assert run("purge", log, stdin=answer).status == 4
        assert len(values(log)) == 5
    done = run("purge", log, stdin=b"y\n")
    assert done.status == 0
    assert values(log) == {}


def test_no_answer_is_no(run, log):
    done = run("purge", log, stdin=b"")
    assert (done.status, done.out) == (4, "")
    assert done.err.splitlines()[-1] == "walcore: no answer, nothing was deleted; --yes deletes without asking"


def until_asked(process):
    asked = b""
    while not asked.endswith(b"[y/N]: "):
        asked += process.stderr.read(1)
    time.sleep(0.2)  # it reads by now


@pytest.mark.parametrize(("key", "status"), [(b"\x03", 130), (b"\x04", 4)])
def test_a_terminal_may_answer_by_key(log, key, status):
    ours, theirs = pty.openpty()

    def own_terminal():
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    with spawn("purge", log, stdin=theirs, preexec_fn=own_terminal) as process:
        os.close(theirs)
        until_asked(process)
        os.write(ours, key)
        said = process.stderr.read().decode()
    os.close(ours)
    assert process.returncode == status
    assert said.strip().count("\n") == 0
    assert said.strip().startswith("walcore: ")
    assert len(values(log)) == 5


def test_an_interrupt_at_the_question_is_status_130_without_a_terminal_too(log):
    with spawn("purge", log) as process:
        until_asked(process)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
    assert (process.returncode, said.strip()) == (130, "walcore: interrupted")
    assert len(values(log)) == 5


def test_purge_says_in_json_what_went(run, log):
    done = run("purge", log, "--yes", "--json")
    (row,) = rows(done)
    assert (done.status, done.err) == (0, "")
    assert (row["what"], row["segments"], row["next_lsn"]) == ("purge", 1, 6)
    assert row["bytes"] > 0
    assert run("purge", log, "--json", stdin=b"n\n").out == ""


def test_purge_keeps_the_lsns_going(run, log):
    assert run("purge", log, "--yes").status == 0
    with walcore.open(log) as wal:
        assert wal.log_mint(1, "I", "x") > 5


def test_purge_makes_no_directory(run, tmp_path):
    assert run("purge", tmp_path / "wal", "--yes").status == 2


def test_the_demo_loses_nothing_of_a_small_file_and_keeps_the_log(run, turtle, tmp_path):
    wal = tmp_path / "kept"
    done = run("demo", turtle, "--keep", wal, "--seed", 3, "--json")
    (facts,) = rows(done)
    assert done.status == 0
    assert (facts["values"], facts["lost"], facts["complete"]) == (10, 0, True)
    assert 1 <= facts["killed_after"] <= facts["committed"] <= facts["recovered"] <= 10
    assert len(values(wal)) == 10
    assert facts["values"] >= 8 * facts["commit_every"]  # or there would be hardly a moment to be drawn
    assert run("demo", turtle, "--keep", wal).status == 2


def test_the_demo_says_how_to_go_on(run, turtle, tmp_path):
    assert "demo --keep demo-wal" in run("demo", turtle).out
    kept = run("demo", turtle, "--keep", tmp_path / "a log").out
    assert f"info '{tmp_path}/a log'" in kept
    assert f"--wal '{tmp_path}/a log' --json" in kept


def test_the_demo_without_a_file_needs_real_ontologies(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = run("demo")
    assert (done.status, done.out) == (4, "")
    assert done.err == "walcore: this needs brickschema: pip install 'walcore[demo]'\n"


def test_the_real_ontologies_are_the_turtle_files_wherever_the_package_has_them(tmp_path, monkeypatch):
    for name in ("__init__.py", "z.ttl", "a/b/c.ttl", "a/b/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    spec = importlib.util.spec_from_file_location("brickschema", tmp_path / "__init__.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "brickschema" else None)
    assert demo.brickschema_files() == [tmp_path / "a" / "b" / "c.ttl", tmp_path / "z.ttl"]


def test_the_demo_takes_no_file_of_a_format_that_it_does_not_know(run, tmp_path):
    path = tmp_path / "a.doc"
    path.write_text("x")
    done = run("demo", path)
    assert (done.status, done.out) == (2, "")
    assert "a.doc' is none that can be read" in done.err


def test_the_demo_makes_the_folders_that_lead_to_the_log(run, turtle, tmp_path):
    wal = tmp_path / "a" / "b" / "c"
    assert run("demo", turtle, "--keep", wal, "--json").status == 0
    assert len(values(wal)) == 10


def test_a_folder_that_can_not_be_is_told_before_anything_is_read(run, turtle, monkeypatch):
    monkeypatch.setattr("walcore.cli.story.tell", lambda *_: pytest.fail("it went on"))
    below_a_file = turtle / "x"
    for wal in (below_a_file, Path("/proc/x")):
        done = run("demo", turtle, "--keep", wal)
        assert (done.status, done.out) == (4, "")
        assert done.err.startswith(f"walcore: --keep: {wal} can't be used: ")
        assert done.err.count("\n") == 1


def test_the_same_seed_draws_the_same_moment(run, turtle):
    drawn = [rows(run("demo", turtle, "--seed", 11, "--json"))[0]["killed_after"] for _ in range(2)]
    assert drawn[0] == drawn[1]


def spoil(records, how):
    if how == "missing":
        del records[1]
    else:
        records[1] = walcore.Record(1, 1, "I", "http://e/changed")


@pytest.mark.parametrize("how", ["missing", "changed"])
def test_the_demo_shows_a_value_that_is_missing_or_changed(run, turtle, monkeypatch, how):
    recover = walcore.recover

    def forgetful(directory):
        found = recover(directory)
        spoil(found.records, how)
        return found

    monkeypatch.setattr(walcore, "recover", forgetful)
    done = run("demo", turtle)
    assert done.status == 1
    assert "missing or changed" in done.out


def test_the_demo_shows_that_the_log_at_its_end_is_not_complete(run, turtle, monkeypatch):
    class Forgetful(walcore.Reader):
        def __iter__(self):
            records = super().__iter__()
            next(records)
            return records

    monkeypatch.setattr(walcore, "read", Forgetful)
    done = run("demo", turtle)
    assert done.status == 1
    assert "NOT complete" in done.out


def test_a_child_that_dies_by_itself_is_status_4_with_its_words(run, turtle, monkeypatch):
    monkeypatch.setattr("walcore.cli.crash._BOOT", "raise SystemExit('no luck')")
    done = run("demo", turtle)
    assert done.status == 4
    assert "no luck" in done.err


@pytest.mark.skipif(importlib.util.find_spec("brickschema") is None, reason="needs brickschema: the extra demo")
def test_the_demo_loses_nothing_of_real_ontologies():
    done = run_alone("demo", "--json")
    (facts,) = rows(done)
    assert done.status == 0, done.err
    assert (facts["files"], facts["lost"], facts["complete"]) == (47, 0, True)
    assert facts["values"] > 70_000
    assert done.err.count("1.1/Brick.ttl") == 1
    assert facts["segments"] > 2


def test_load_waits_for_the_disk_after_every_so_many_records(run, tmp_path, commits):
    stdin = "".join(f'{{"kind":"I","lexical":"http://e/{number}"}}\n' for number in range(1000)).encode()
    assert run("load", "-", "--wal", tmp_path / "wal", "--commit-every", 300, stdin=stdin).status == 0
    assert commits == [300, 600, 900, 1000]
    commits.clear()
    assert run("load", "-", "--wal", tmp_path / "wal", "--commit-every", 300, stdin=stdin).status == 0
    assert commits == []
    assert run("load", "-", "--wal", tmp_path / "wal", "--commit-every", 0, stdin=stdin).status == 2


def test_load_shows_what_became_of_each_file(run, turtle, tmp_path, monkeypatch):
    seconds = iter([10.0, 12.0, 20.0, 20.5])
    monkeypatch.setattr("walcore.cli.load.time.perf_counter", lambda: next(seconds))
    bad = tmp_path / "bad.nt"
    bad.write_text("<http://e/a> <http://e/b> <http://e/z> .\nnope\n")
    lines = [" ".join(line.split()) for line in run("load", turtle, bad, "--wal", tmp_path / "wal").lines]
    (first,) = (line for line in lines if line.startswith(str(turtle)))
    (second,) = (line for line in lines if line.startswith(str(bad)))
    met = int(first.split()[1])
    assert first == f"{turtle} {met} 10 0 2.00 {met / 2:.0f}/s"
    assert second == f"{bad} (not to its end) 3 1 0 0.50 6/s"
