"""What the demo tells, step by step: each number is one that can be counted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyoxigraph")

import walcore
from walcore.cli import crash, demo, story
from walcore.cli.ndjson import dumps
from walcore.format import segment_name
from walcore.segments import Segment

VALUES = [("I", f"http://e/{number}", "", "") for number in range(10)]


def spool(tmp_path: Path) -> Path:
    path = tmp_path / "values"
    path.write_text("".join(f"{dumps([id_, *value])}\n" for id_, value in enumerate(VALUES, 1)))
    return path


def test_a_child_acknowledges_every_so_many_values_and_the_last(tmp_path):
    told = []
    promise = crash.log_and_kill(tmp_path / "wal", spool(tmp_path), 3, 4, told.append)
    assert told == [3, 6, 9, 10]
    assert (promise.values, promise.lsn, promise.acknowledgements) == (10, 10, 4)
    assert 0 < promise.seconds < 60
    assert [record.lsn for record in walcore.read(tmp_path / "wal")] == list(range(1, 11))


def test_a_child_is_killed_at_the_acknowledgement_that_was_drawn_and_not_before(tmp_path):
    promise = crash.log_and_kill(tmp_path / "wal", spool(tmp_path), 5, 1, lambda _: None)
    assert promise.values in (5, 10)  # the second may lie in the pipe by then
    assert promise.acknowledgements == promise.values // 5


def test_a_child_that_ends_before_it_is_killed_is_told_of_with_its_acknowledgements(tmp_path, monkeypatch):
    monkeypatch.setattr(crash, "_BOOT", "import os, sys; os.write(1, b'1 1 5\\n'); sys.exit('x' * 3000 + 'the end')")
    with pytest.raises(walcore.WalError, match=r"by itself after 1 commit: x{1993}the end$"):
        crash.log_and_kill(tmp_path / "wal", spool(tmp_path), 1, 2, lambda _: None)


def told(total: int, every: int = 3) -> story.Story:
    made = story.Story()
    made.values, made.every = VALUES[:total], every
    return made


def test_the_rest_is_logged_in_batches_with_a_commit_each(tmp_path, commits):
    wal = tmp_path / "wal"
    with walcore.open(wal) as log:
        log.log_mint(2, *VALUES[1])
        log.log_mint(1, *VALUES[0])
    one = told(10)
    story._load_rest(one, wal, walcore.recover(wal).records)
    assert (one.rest, commits) == (8, [5, 8, 10])
    assert {record.id: record.lexical for record in walcore.read(wal)} == {
        number: value[1] for number, value in enumerate(VALUES, 1)
    }
    story._verify(one, wal)
    assert one.complete
    one.values = [*VALUES[:9], ("I", "http://e/other", "", "")]
    story._verify(one, wal)
    assert not one.complete


@pytest.mark.parametrize(
    ("total", "every", "commits"), [(10, 1, 10), (17, 2, 9), (2, 1, 2), (4000, 500, 8), (8001, 500, 17)]
)
def test_a_kill_is_drawn_from_the_commits_but_the_last(tmp_path, monkeypatch, capsys, total, every, commits):
    asked = []

    class Highest:
        def randint(self, low, high):
            asked.append((low, high))
            return high

    monkeypatch.setattr(story, "log_and_kill", lambda *words: asked.append(words[2:4]))
    one = story.Story()
    one.values = [VALUES[0]] * total
    story._crash(one, tmp_path, tmp_path, Highest())
    assert asked == [(1, commits - 1), (every, commits - 1)]
    assert f"acknowledgement {commits - 1} of {commits}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "lost", "words"),
    [
        ({}, 0, "3 had been promised, 0 are missing, 0 changed"),
        ({1: None}, 1, "3 had been promised, 1 is missing, 0 changed"),
        ({1: None, 3: None}, 2, "3 had been promised, 2 are missing, 0 changed"),
        ({4: None}, 0, "3 had been promised, 0 are missing, 0 changed"),
        ({2: "http://e/0"}, 1, "3 had been promised, 0 are missing, 1 changed"),
        ({2: "http://e/9"}, 1, "3 had been promised, 0 are missing, 1 changed"),
        ({0: "http://e/9"}, 1, "3 had been promised, 0 are missing, 1 changed"),
        ({-1: "http://e/8"}, 1, "3 had been promised, 0 are missing, 1 changed"),
        ({11: "http://e/8"}, 1, "3 had been promised, 0 are missing, 1 changed"),
        ({3: None, 2: "http://e/0"}, 2, "3 had been promised, 1 is missing, 1 changed"),
    ],
)
def test_what_was_promised_and_all_that_is_there_is_looked_at(tmp_path, monkeypatch, capsys, changed, lost, words):
    found = {number: walcore.Record(number, number, *VALUES[number - 1]) for number in range(1, 5)}
    for id_, lexical in changed.items():
        if lexical is None:
            del found[id_]
        else:
            found[id_] = walcore.Record(1, id_, "I", lexical)
    monkeypatch.setattr(walcore, "recover", lambda _: type("Recovered", (), {"records": found}))
    one = told(10)
    one.promise = crash.Promise(3, 3, 1, 1.0)
    story._recover(one, tmp_path)
    assert (one.lost, one.recovered) == (lost, len(found))
    assert words in capsys.readouterr().err


def finished(rest: int = 3) -> story.Story:
    one = told(10)
    one.files, one.bytes, one.kill_after, one.promise = 2, 1500, 4, crash.Promise(6, 6, 4, 0.5)
    one.recovered, one.recovered_in, one.lost, one.rest, one.rest_in = 7, 0.25, 0, rest, 0.5
    one.verified_in, one.complete, one.segments = 0.1, True, []
    one.values = [*VALUES[:8], ("L", "x", "", ""), ("N", "y", "", "")]
    for number in range(1, 6):
        name = segment_name(number)
        one.segments.append(Segment(Path(name), name, sealed=number < 3, size=1000, inode=number, header=None))
    return one


def test_every_number_is_shown(capsys):
    demo._show(finished(), 42)
    text = "\n".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    for words in (
        "files 2 1.5 kB of RDF",
        "values 10 distinct",
        "blank nodes 0",
        "logged 12/s one by one, on disk after every 3",
        "killed kill -9 after acknowledgement 4; --seed 42 draws it again",
        "committed 6 values that were",
        "recovered 7 in 0.25 s",
        "lost 0 every committed value is there, unchanged",
        "the rest 3 logged behind the crash, 6/s",
        "read back 10 complete, each value right, 100/s",
        "segments 5 2 sealed, 3 plain, 5.0 kB",
    ):
        assert words in text


def test_a_bar_is_as_long_as_its_share_and_none_is_too_short_to_be_seen():
    assert [demo._bar(part, 60).count("█") for part in (0, 1, 2, 30, 59, 60)] == [0, 1, 1, 15, 30, 30]
    assert demo._bar(1, 100_000).count("█") == 1


def test_without_a_rest_none_is_shown(capsys):
    demo._show(finished(rest=0), 1)
    assert "the rest" not in capsys.readouterr().out


def test_the_facts_are_the_same_numbers():
    facts = demo._facts(finished(), 42)
    assert facts == {
        "files": 2, "bytes": 1500, "values": 10, "iris": 8, "blank_nodes": 0, "literals": 1, "namespaces": 1,
        "seed": 42, "commit_every": 3, "killed_after": 4, "committed": 6, "recovered": 7, "lost": 0,
        "logged_per_second": 12, "read_per_second": 100, "complete": True, "segments": 5, "sealed": 2,
        "log_bytes": 5000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("/usr/bin/walcore", "/usr/bin/walcore"),
        ("/my tools/walcore", "'/my tools/walcore'"),
        ("/x/walcore/__main__.py", f"{sys.executable} -m walcore"),
        ("/usr/bin/pytest", "walcore"),
        ("/usr/bin/zsh", "walcore"),
        ("-c", "walcore"),
    ],
)
def test_the_next_commands_are_called_as_this_one_was(monkeypatch, word, name):
    monkeypatch.setattr(sys, "argv", [word, "demo"])
    assert demo._own_name() == name


def test_the_demo_shows_how_much_was_read_and_leaves_out_what_is_no_rdf(run, tmp_path):
    folder = tmp_path / "some" / "where"
    folder.mkdir(parents=True)
    (folder / "a.nt").write_text("<http://e/a> <http://e/b> <http://e/c> .\n" * 3)
    (tmp_path / "b.ttl").write_text("<http://e/a> <http://e/b> 5 .\n<relative> <http://e/2> 3 .\n")
    done = run("demo", folder / "a.nt", tmp_path / "b.ttl", "--json")
    assert done.status == 0
    assert "some/where" not in done.err
    assert "b.ttl:2: no valid Turtle (" in done.err
    assert "read 2 files, 181 B: 4 distinct values in " in done.err


def test_the_demo_tells_how_many_terms_can_be_no_value(run, tmp_path):
    pytest.importorskip("pyoxigraph")
    path = tmp_path / "a.nt"
    more = "<http://e/a> <http://e/b> <<( <http://e/c> <http://e/d> <http://e/e> )>> .\n"
    for skipped, told in ((0, ""), (1, "1 term"), (2, "2 terms")):
        path.write_text("<http://e/a> <http://e/b> <http://e/c> .\n" + more * skipped)
        done = run("demo", path)
        assert (done.status, "left out" in done.err) == (0, bool(skipped))
        assert not told or f"walcore: a.nt: {told} left out that can't be a value\n" in done.err


def test_one_term_is_nothing_to_show(run, tmp_path):
    path = tmp_path / "a.ttl"
    for text, status in (("", 4), ("@prefix e: <http://e/> .\n", 4), ("@prefix e: <http://e/> . e:a e:a e:a .", 0)):
        path.write_text(text)
        assert run("demo", path).status == status


def test_each_step_takes_the_time_that_it_took(tmp_path, monkeypatch):
    def clock(*times):
        told_times = iter(times)
        monkeypatch.setattr(story, "time", type("Clock", (), {"perf_counter": staticmethod(lambda: next(told_times))}))

    one = told(10)
    one.promise = crash.Promise(0, 0, 1, 1.0)
    with walcore.open(tmp_path / "wal"):
        pass
    clock(3.0, 3.5)
    records = story._recover(one, tmp_path / "wal")
    clock(7.0, 7.25)
    story._load_rest(one, tmp_path / "wal", records)
    clock(20.0, 22.0)
    story._verify(one, tmp_path / "wal")
    assert (one.recovered_in, one.rest_in, one.verified_in) == (0.5, 0.25, 2.0)
