"""info, cat, find, verify, recover: what they print of sound and of damaged logs."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
from commands import content

import walcore

ROWS = [
    {"lsn": 1, "id": 1, "kind": "I", "lexical": "http://e/a", "datatype": "", "language": "", "hash": 0},
    {"lsn": 2, "id": 2, "kind": "B", "lexical": "b1", "datatype": "", "language": "", "hash": 0},
    {"lsn": 3, "id": 3, "kind": "L", "lexical": 'line\n"two"\ud83d', "datatype": "e:d", "language": "", "hash": -7},
    {"lsn": 4, "id": 4, "kind": "L", "lexical": "Zürich", "datatype": "", "language": "de", "hash": 0},
    {"lsn": 5, "id": -5, "kind": "N", "lexical": "http://e/", "datatype": "", "language": "", "hash": 0},
]  # fmt: skip


def rows(done):
    return [json.loads(line) for line in done.lines]


def shown(run, wal):
    """What `cat` prints behind the LSN, the id and the kind of each record."""
    return [line.split(None, 3)[3] for line in run("cat", wal).lines]


def test_cat_prints_one_line_a_record_whatever_is_in_it(run, log):
    assert [line.split(None, 3) for line in run("cat", log).lines] == [
        ["1", "1", "I", "<http://e/a>"],
        ["2", "2", "B", "_:b1"],
        ["3", "3", "L", r'"line\n\"two\"\uD83D"^^<e:d>'],
        ["4", "4", "L", '"Zürich"@de'],
        ["5", "-5", "N", "<http://e/>"],
    ]


def test_no_control_character_of_a_value_reaches_a_terminal(run, tmp_path):
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint(1, "I", "http://e/\x1b[2J")
        wal.log_mint(2, "L", "a\tb\x9b", language="de\x07")
        wal.log_mint(3, "L", "c", datatype="e:\r\u202e")
    assert shown(run, tmp_path / "wal") == [
        r"<http://e/\u001B[2J>",
        r'"a\tb\u009B"@de\u0007',
        r'"c"^^<e:\r\u202E>',
    ]


def test_a_literal_without_datatype_or_with_that_of_plain_strings_is_shown_without(run, tmp_path):
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint(1, "L", "a")
        wal.log_mint(2, "L", "b", datatype="http://www.w3.org/2001/XMLSchema#string")
        wal.log_mint(3, "L", "c", datatype="http://www.w3.org/2001/XMLSchema#strin")
    assert shown(run, tmp_path / "wal") == [
        '"a"',
        '"b"',
        '"c"^^<http://www.w3.org/2001/XMLSchema#strin>',
    ]


def test_cat_json_has_every_field_even_a_lone_surrogate(run, log):
    assert rows(run("cat", log, "--json")) == ROWS


@pytest.mark.parametrize(
    ("options", "lsns"),
    [
        (("--kind", "l"), [3, 4]),
        (("--kind", "iri", "--kind", "N"), [1, 5]),
        (("--limit", 2), [1, 2]),
        (("--limit", 0), []),
        (("--from-lsn", 2, "--to-lsn", 3), [2, 3]),
        (("--kind", "literal", "--limit", 1), [3]),
    ],
)
def test_cat_chooses_by_kind_lsn_and_number(run, log, options, lsns):
    assert [row["lsn"] for row in rows(run("cat", log, "--json", *options))] == lsns


def test_cat_salvages_behind_damage_when_asked(run, damaged):
    assert [row["lsn"] for row in rows(run("cat", damaged, "--json"))] == [1, 2, 3]
    done = run("cat", damaged, "--json", "--mode", "salvage")
    assert [row["lsn"] for row in rows(done)] == [1, 2, 3, 5]
    assert done.status == 1
    strict = run("cat", damaged, "--mode", "strict")
    assert strict.status == 1
    assert "Traceback" not in strict.err


def test_cat_reads_while_a_writer_has_the_log(run, log):
    with walcore.open(log) as wal:
        wal.commit(wal.log_mint(9, "I", "http://e/new"))
        assert rows(run("cat", log, "--json"))[-1]["id"] == 9


def test_find_prints_the_newest_value_also_of_a_negative_id(run, log):
    with walcore.open(log) as wal:
        wal.log_mint(1, "I", "http://e/newer")
    done = run("find", 1, -5, "--wal", log, "--json")
    assert [row["lexical"] for row in rows(done)] == ["http://e/newer", "http://e/"]


def test_find_prints_what_there_is_and_names_what_is_not(run, log):
    done = run("find", 2, 77, "--wal", log)
    assert done.status == 4
    assert "_:b1" in done.out
    assert "id 77" in done.err


def test_find_says_that_damage_may_hide_a_newer_value(run, damaged):
    done = run("find", 1, "--wal", damaged)
    assert done.status == 1
    assert "<http://e/a>" in done.out
    assert done.err.count("a newer record of id 1 may be missing") == 1


@pytest.mark.parametrize("id_", ["99999999999", "-2147483649", "4x", "1.5", "9" * 5000])
def test_an_id_outside_32_bits_is_a_wrong_call(run, log, id_):
    for words in ((id_, "--wal", log), (id_, log), (1, id_, log)):
        done = run("find", *words)
        assert (done.status, done.out) == (2, ""), words
        assert "is no id" in done.err


def test_find_takes_the_directory_as_its_last_word(run, log, monkeypatch):
    expected = run("find", 1, -5, "--wal", log)
    assert run("find", 1, -5, log) == expected
    assert run("find", 1, log, "--wal", log).status == 2
    assert run("find", 1).status == 2
    assert run("find", log).status == 2
    assert run("find", 1, log / "no-such").status == 2
    assert run("find", "--nonsense", 1, log).status == 2
    monkeypatch.setenv("WALCORE_WAL", str(log))
    assert run("find", 1, -5) == expected
    assert run("find", 1, -5, log) == expected


def test_an_id_without_a_value_is_said_so(run, log):
    done = run("find", 77, log)
    assert (done.status, done.out) == (4, "")
    assert done.err == f"walcore: not found: the log in {log} has no value for id 77\n"


def test_verify_counts_and_names_each_fault_with_its_lsns(run, damaged):
    summary, fault = rows(run("verify", damaged, "--json"))
    assert (summary["complete"], summary["records"], summary["literals"]) == (False, 4, 1)
    assert (fault["kind"], fault["lsn_before"], fault["lsn_after"]) == ("corrupt_frame", 3, 5)
    done = run("verify", damaged)
    assert "DAMAGED" in done.out
    assert "corrupt_frame" in done.out
    assert f"walcore repair {damaged}" in done.err


def test_verify_counts_a_kind_of_which_there_is_no_record_as_none(run, tmp_path):
    with walcore.open(tmp_path / "wal") as wal:
        wal.log_mint_many([1, 2], "I", ["http://e/a", "http://e/b"])
    (summary,) = rows(run("verify", tmp_path / "wal", "--json"))
    assert [summary[kind] for kind in ("iris", "blank_nodes", "literals", "namespaces")] == [2, 0, 0, 0]


def test_verify_calls_a_torn_tail_no_damage(run, log):
    path = max(log.glob("wal-*.v1*"))
    (log / "walcore.state").unlink()
    with walcore.open(log) as wal:
        wal.log_mint(6, "I", "http://e/x")
        wal.commit()
        wal.flush()
        path = next(p for p in log.glob("wal-*.v1") if b"http://e/x" in p.read_bytes())
        torn = path.read_bytes()[:-3]
    for plain in log.glob(f"{path.name}*"):
        plain.unlink()
    (log / "walcore.state").unlink()
    path.write_bytes(torn)
    done = run("verify", log)
    assert done.status == 0
    assert "torn_tail" in done.out


def test_a_tear_between_segments_is_no_damage_unless_reading_stops_there(run, log):
    with walcore.open(log) as wal:
        wal.log_mint(6, "I", "http://e/x")
    first = min(log.glob("wal-*"))
    plain = content(first)
    first.unlink()
    (log / first.name.removesuffix(".gz")).write_bytes(plain[:-3] if first.suffix != ".gz" else plain[:-60])
    (log / "walcore.state").unlink()
    assert run("cat", log).status == 0
    done = run("cat", log, "--mode", "stop")
    assert done.status == 1
    assert "torn_tail" in done.err


def test_an_empty_segment_is_no_damage(run, log):
    (log / "wal-77.v1").touch()
    done = run("info", log)
    assert done.status == 0
    assert "empty" in done.out


def test_info_shows_segments_store_and_writer(run, log):
    summary, segment = rows(run("info", log, "--json"))
    assert (summary["segments"], summary["writing"], summary["last_lsn_noted"]) == (1, False, 5)
    assert (segment["number"], segment["first_id"], segment["problem"]) == (1, 1, None)
    assert summary["store"] == segment["store"]
    assert segment["name"] in run("info", log).out
    with walcore.open(log):
        assert "has it open" in run("info", log).out


@pytest.fixture
def cut(log):
    """A log whose torn tail of 9 bytes an opening cut off."""
    with walcore.open(log) as wal:
        wal.log_mint(6, "I", "http://e/x")
    last = next(path for path in log.glob("wal-*") if b"http://e/x" in content(path))
    plain = content(last)
    last.unlink()
    end = plain.index(b"http://e/x")
    (log / last.name.removesuffix(".gz")).write_bytes(plain[:end])
    (log / "walcore.state").unlink()
    with walcore.open(log) as wal:
        (removed,) = wal.opening.cut or wal.opening.quarantined
    assert removed.size > 0
    return log, removed.size


def test_what_an_opening_left_out_is_shown(run, cut):
    log, removed = cut
    for command in ("info", "verify"):
        summary = rows(run(command, log, "--json"))[0]
        assert (summary["quarantine_files"], summary["quarantine_bytes"]) == (1, removed), command
        assert f"1 file, {removed} B" in run(command, log).out


@pytest.fixture
def refused(log, monkeypatch):
    """A log with a file in its quarantine, and errors by which looking at that file fails."""
    errors = []
    real = os.stat

    def refuse(path, **how):
        if path == "wal-1.v1.1":
            raise errors[-1]
        return real(path, **how)

    (log / "quarantine").mkdir()
    (log / "quarantine" / "wal-1.v1.1").write_bytes(b"x")
    monkeypatch.setattr(os, "stat", refuse)
    return log, errors


def test_a_quarantine_that_may_not_be_read_is_told_so(run, refused):
    log, errors = refused
    errors.append(PermissionError(errno.EACCES, "Permission denied"))
    facts = rows(run("info", log, "--json"))[0]
    assert (facts["quarantine_files"], facts["quarantine_bytes"]) == (None, None)
    assert "can't be told: it may not be read" in run("info", log).out


def test_a_quarantine_whose_disk_fails_is_no_empty_one(run, refused):
    log, errors = refused
    errors.append(OSError(errno.EIO, "Input/output error"))
    done = run("info", log)
    assert (done.status, done.err) == (4, "walcore: [Errno 5] Input/output error\n")


def test_in_a_quarantine_files_are_counted_and_nothing_else(run, log):
    (log / "quarantine" / "folder").mkdir(parents=True)
    (log / "quarantine" / "link").symlink_to(log)
    (log / "quarantine" / "wal-1.v1.1").write_bytes(b"123")
    facts = rows(run("info", log, "--json"))[0]
    assert (facts["quarantine_files"], facts["quarantine_bytes"]) == (1, 3)


def test_a_log_without_quarantine_has_none(run, log):
    assert rows(run("info", log, "--json"))[0]["quarantine_files"] == 0
    assert "  quarantine  " not in run("verify", log).out
    (log / "quarantine").symlink_to("/")
    assert rows(run("info", log, "--json"))[0]["quarantine_files"] == 0


def test_the_store_is_known_after_a_purge(run, log):
    store = rows(run("info", log, "--json"))[0]["store"]
    assert run("purge", log, "--yes").status == 0
    assert rows(run("info", log, "--json"))[0]["store"] == store
    assert store in run("info", log).out


def test_a_writer_behind_an_unreadable_lock_can_not_be_told(run):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folder is closed to other users
        Path(folder).chmod(0o755)
        with walcore.open(folder) as wal:
            wal.commit(wal.log_mint(1, "I", "x"))
            run("info", folder)  # imports what it needs while that can be read
            run("info", folder, "--json")
            for segment in Path(folder).glob("*"):
                segment.chmod(0o644)
            Path(folder, "lock").chmod(0)
            was = os.geteuid()
            if was == 0:
                os.seteuid(65534)
            try:
                summary = rows(run("info", folder, "--json"))[0]
                text = run("info", folder).out
            finally:
                os.seteuid(was)
    assert (summary["writing"], summary["closed_cleanly"]) == (None, None)
    assert "can't be told" in text


def test_info_tells_a_segment_without_header(run, log):
    (log / "wal-77.v1").write_bytes(b"garbage that is no header")
    done = run("info", log)
    assert done.status == 1
    assert "wal-77.v1" in done.out


def test_recover_writes_one_line_an_id_by_rising_id(run, log, tmp_path):
    target = tmp_path / "values.ndjson"
    assert run("recover", log, "-o", target).status == 0
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert written == sorted(ROWS, key=lambda row: row["id"])
    assert run("recover", log, "-o", "-").out == target.read_text()


def test_recover_in_bounded_memory_writes_the_same(run, log, tmp_path, monkeypatch):
    plain = run("recover", log, "-o", "-").out
    for weight in (1, 1 << 20):
        monkeypatch.setattr("walcore.recovery.weigh", lambda batch, weight=weight: weight * len(batch))
        assert run("recover", log, "-o", "-", "--max-memory", "1").out == plain
    assert run("recover", log, "-o", "-", "--max-memory", "0").status == 2


def test_recover_of_a_damaged_log_writes_only_when_told_to(run, damaged, tmp_path):
    target = tmp_path / "values.ndjson"
    target.write_text("before")
    done = run("recover", damaged, "-o", target)
    assert (done.status, target.read_text()) == (1, "before")
    assert "--allow-incomplete" in done.err
    assert run("recover", damaged, "-o", target, "--allow-incomplete").status == 1
    assert len(target.read_text().splitlines()) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["values.ndjson", "wal"]


def test_a_recovery_that_fails_leaves_nothing_behind(run, log, tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("walcore.cli.ndjson.to_json", fail)
    done = run("recover", log, "-o", tmp_path / "values.ndjson")
    assert done.status == 4
    assert "No space left" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["wal"]


def test_recover_tells_of_an_id_with_two_values(run, log):
    with walcore.open(log) as wal:
        wal.log_mint(1, "I", "http://e/newer")
    done = run("recover", log, "-o", "-")
    assert "http://e/newer" in done.out
    assert "id 1 has two values" in done.err
    assert '"http://e/a"' in run("recover", log, "-o", "-", "--on-conflict", "first").out


def test_recover_says_in_json_what_it_wrote(run, log, tmp_path):
    with walcore.open(log) as wal:
        wal.log_mint(1, "I", "http://e/newer")
    target = tmp_path / "values.ndjson"
    done = run("recover", log, "-o", target, "--json")
    summary, conflict = rows(done)
    assert (done.status, done.err) == (0, "")
    assert (summary["output"], summary["complete"], summary["values"]) == (str(target), True, 5)
    assert (conflict["what"], conflict["id"]) == ("conflict", 1)
    assert (conflict["kept"]["lexical"], conflict["dropped"]) == ("http://e/newer", ROWS[0])


def test_recover_tells_damage_in_json(run, damaged, tmp_path):
    target = tmp_path / "values.ndjson"
    done = run("recover", damaged, "-o", target, "--json")
    summary, fault = rows(done)
    assert (done.status, target.exists()) == (1, False)
    assert (summary["output"], summary["complete"], summary["values"]) == (None, False, 4)
    assert (fault["what"], fault["kind"], fault["lsn_before"]) == ("fault", "corrupt_frame", 3)
    assert rows(run("verify", damaged, "--json"))[1] == fault
    done = run("recover", damaged, "-o", target, "--json", "--allow-incomplete")
    assert (done.status, rows(done)[0]["output"]) == (1, str(target))


def test_values_on_stdout_stay_alone_there(run, damaged, tmp_path):
    done = run("recover", damaged, "-o", "-", "--json", "--allow-incomplete")
    assert [row["id"] for row in rows(done)] == [-5, 1, 2, 3]
    assert [json.loads(line)["what"] for line in done.err.splitlines()] == ["recovery", "fault"]
    assert run("load", "-", "--wal", tmp_path / "new", stdin=done.out.encode()).status == 0


@pytest.mark.parametrize("name", ["no-such/x", "wal/lock/x"])
def test_a_file_that_can_not_be_written_is_named_as_the_user_named_it(run, log, tmp_path, name):
    done = run("recover", log, "-o", tmp_path / name)
    assert done.status == 4
    assert f"'{tmp_path / name}'" in done.err
    assert ".tmp" not in done.err
    assert done.err.count("\n") == 1


def test_a_pipe_is_written_to_and_not_replaced(run, log, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert run("recover", log, "-o", pipe).status == 0
    assert pipe.is_fifo()
    assert len(os.read(reader, 10_000).splitlines()) == 5
    os.close(reader)


def test_one_fault_is_one(run, damaged, tmp_path):
    with pytest.raises(walcore.IncompleteError, match=r"not complete: 1 fault, 3 records could be read"):
        walcore.recover(damaged)
    with pytest.warns(walcore.WalDamageWarning, match=r"not complete: 1 fault by which"):
        list(walcore.read(damaged))
    done = run("load", "-", "--wal", damaged)
    assert "1 fault" in done.err
    assert "1 faults" not in done.err


def test_info_and_verify_tell_of_the_indexes(run, tmp_path):
    with walcore.open(tmp_path / "wal") as wal:
        for first in (1, 5000, 9000):
            wal.log_mint_many(range(first, first + 2000), "L", [f"{id * 2**61 % 998244353:x}" for id in range(2000)])
            wal.rotate()
    one, two, three = sorted((tmp_path / "wal").glob("*.walcore-index"))
    size = sum(path.stat().st_size for path in (one, two, three))
    (facts, *_) = rows(run("info", tmp_path / "wal", "--json"))
    assert (facts["indexes"], facts["index_bytes"], facts["indexes_stale"]) == (3, size, 0)
    two.write_bytes(one.read_bytes())
    content = bytearray(three.read_bytes())
    content[20] ^= 1  # in a page
    three.write_bytes(content)
    (facts, *_) = rows(run("verify", tmp_path / "wal", "--json"))
    assert (facts["indexes"], facts["indexes_stale"], facts["indexes_damaged"]) == (1, 1, 1)
    text = run("verify", tmp_path / "wal").out
    assert "1 of another file" in text
    assert "1 damaged" in text
    assert "2 of sealed segments" in run("info", tmp_path / "wal").out


@pytest.mark.parametrize(("size", "shown"), [(39, "9" * 39), (40, "9" * 40), (41, "9" * 40 + "...")])
def test_of_what_is_no_id_forty_characters_are_shown(run, log, size, shown):
    assert f"'{shown}' is no id" in run("find", "9" * size, "--wal", log).err
