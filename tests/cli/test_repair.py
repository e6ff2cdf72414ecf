"""`walcore repair`: a plan that changes nothing, and its carrying out."""

from __future__ import annotations

import json

import folders

import walcore


def test_a_sound_log_has_nothing_to_repair(run, log):
    before = folders.tree(log)
    for words in ((), ("--apply",)):
        done = run("repair", log, *words)
        assert (done.status, done.out) == (0, "")
        assert "nothing to repair" in done.err
        assert folders.tree(log) == before


def test_the_plan_names_damage_steps_and_losses_and_changes_nothing(run, damaged):
    before = folders.tree(damaged)
    done = run("repair", damaged)
    assert done.status == 1
    assert "rewrite" in done.out
    assert "corrupt_frame" in done.err
    assert "LSN 4" in done.err
    assert "--apply" in done.err
    assert folders.tree(damaged) == before


def test_apply_repairs_and_keeps_what_was_there(run, damaged):
    (segment,) = damaged.glob("wal-*")
    before = segment.read_bytes()
    done = run("repair", damaged, "--apply")
    assert done.status == 0, done.err
    assert "repaired" in done.err
    assert run("verify", damaged).status == 0
    assert [record.lsn for record in walcore.read(damaged, mode="STRICT")] == [1, 2, 3, 5]
    assert before in folders.tree(damaged).values()
    assert run("repair", damaged).status == 0


def test_json_gives_the_plan_its_faults_and_steps(run, damaged):
    rows = [json.loads(line) for line in run("repair", damaged, "--json").lines]
    assert [row["what"] for row in rows] == ["repair", "fault", "step"]
    assert rows[0]["damaged"] is True
    assert rows[0]["lost"] == [[4, 4]]
    assert (rows[0]["applied"], rows[2]["action"]) == (False, "rewrite")
    (applied,) = [row for row in map(json.loads, run("repair", damaged, "--apply", "--json").lines) if "applied" in row]
    assert applied["applied"] is True
    assert all((damaged / name).exists() for name in applied["quarantined"])


def test_of_a_tear_alone_it_is_said_that_opening_sees_to_it(run, tmp_path):
    wal = folders.put(tmp_path / "wal", wal_1=folders.plain(1, [1, 2])[:-3])
    done = run("repair", wal)
    assert "torn_tail" in done.err
    assert done.err.splitlines()[-1] == (
        "walcore: nothing was changed; this is what a crash left and opening the log does as well; --apply does it now"
    )


def test_a_locked_log_is_left_alone(run, log):
    with walcore.open(log):
        for words in ((), ("--apply",)):
            assert run("repair", log, *words).status == 3


def test_a_log_of_which_nothing_tells_the_store_asks_for_it(run, log):
    (segment,) = log.glob("wal-*")
    segment.write_bytes(folders.headless(segment.read_bytes()))
    (log / "walcore.state").unlink()
    done = run("repair", log)
    assert done.status == 4
    assert "--store" in done.err
    assert run("repair", log, "--store", "0f8fad5b-d9cb-469f-a165-70867728950e", "--apply").status == 0
    assert len(list(walcore.read(log, mode="STRICT"))) == 5
    assert run("repair", log, "--store", "7c9e6679-7425-40de-944b-e07fc1f90ae7").status == 4


def test_a_link_in_the_place_of_a_segment_is_not_touched(run, log, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"x")
    (log / "wal-7.v1").symlink_to(tmp_path / "elsewhere")
    done = run("repair", log, "--apply")
    assert done.status == 4
    assert "by hand" in done.err
    assert (log / "wal-7.v1").is_symlink()
