"""info, cat, find, verify, recover: what they print of sound and of damaged logs."""

from __future__ import annotations

import json

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


def test_cat_prints_one_line_a_record_whatever_is_in_it(run, log):
    assert [line.split(None, 3) for line in run("cat", log).lines] == [
        ["1", "1", "I", "<http://e/a>"],
        ["2", "2", "B", "_:b1"],
        ["3", "3", "L", r'"line\n\"two\"\uD83D"^^<e:d>'],
        ["4", "4", "L", '"Zürich"@de'],
        ["5", "-5", "N", "<http://e/>"],
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


def test_verify_counts_and_names_each_fault_with_its_lsns(run, damaged):
    summary, fault = rows(run("verify", damaged, "--json"))
    assert (summary["complete"], summary["records"], summary["literals"]) == (False, 4, 1)
    assert (fault["kind"], fault["lsn_before"], fault["lsn_after"]) == ("corrupt_frame", 3, 5)
    table = run("verify", damaged).out
    assert "DAMAGED" in table
    assert "corrupt_frame" in table


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
