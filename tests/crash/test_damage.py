"""Damage of every kind: named for what it is in all four modes, repaired, and then read whole by RDF4J's rule."""

from __future__ import annotations

import contextlib
import io
import logging
import random
from collections import Counter
from pathlib import Path

import damage
import folders
import harms
import logs
import oracle
import pytest
from tally import LONG, Tally

import walcore

Files = dict[str, bytes]
LOGS = [(sealed, closed) for sealed in (False, True) for closed in (False, True)]
NAMES = ["plain, after a crash", "plain, closed", "sealed, after a crash", "sealed, closed"]

PLAIN_KINDS = {"corrupt_frame", "torn_tail", "unreadable_segment", "missing_segment"}
GZIP_KINDS = PLAIN_KINDS - {"torn_tail"} | {"summary_mismatch", "missing_summary", "truncated_gzip"}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What openings cut is judged here, not read."""
    caplog.set_level(logging.CRITICAL, "walcore")


def whole(directory: Path, *, sealed: bool, closed: bool) -> Files:
    damage.make(directory, sealed=sealed, closed=closed)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(("sealed", "closed"), LOGS, ids=NAMES)
def test_a_flipped_bit_is_named_and_repaired(tmp_path: Path, sealed: bool, closed: bool) -> None:
    files, tried = whole(tmp_path / "wal", sealed=sealed, closed=closed), 0
    for name in sorted(files):
        # The short form takes every eighth bit of the closed logs; of two plain segments in the middle one is enough.
        step = 1 if LONG else 401 if not closed or name == "wal-4.v1" else 8
        for bit in range(0, 8 * len(files[name]), step):
            damage.restore(tmp_path / "wal", files)
            data = bytearray(files[name])
            data[bit // 8] ^= 1 << (bit // step + bit) % 8
            (tmp_path / "wal" / name).write_bytes(data)
            repaired = LONG or tried % 15 == 0
            judged = damage.judge(tmp_path / "wal", f"{name}, bit {bit}", repaired=repaired, exact=closed)
            check_kinds(judged, name, bit // 8, len(data), closed=closed)
            tried += 1
    print(f"{NAMES[LOGS.index((sealed, closed))]}: {tried} bits flipped, one at a time")


def check_kinds(judged: damage.Judged, name: str, byte: int, size: int, *, closed: bool) -> None:
    """The kind of fault is the one that belongs to the region of the byte, and no more is lost than a record or two."""
    kinds, where = set(judged.kinds), f"{name}, byte {byte}: {judged}"
    last = name.startswith(f"wal-{damage.SEGMENTS[-1][0].id}.")
    if not name.startswith("wal-"):
        assert not kinds, where  # a state file that is damaged vouches for nothing, and that is all
    elif name.endswith(".gz"):
        assert kinds <= GZIP_KINDS, where
        if byte < 3:
            assert "unreadable_segment" in kinds, where
        elif 4 <= byte < 10:
            assert not kinds, where  # time and system, which nobody reads
        elif byte >= size - 8:
            assert judged.kinds == ["corrupt_frame"], where  # CRC and size of the gzip
        if judged.repaired and (byte < 10 or byte >= size - 8):
            assert judged.left == list(damage.ROWS), where
    else:
        assert kinds <= PLAIN_KINDS, where
        assert kinds, where
        header = len(logs.plain([], 1))
        if byte < header:
            assert kinds <= {"unreadable_segment", "missing_segment"}, where
            assert judged.left == list(damage.ROWS), where  # SALVAGE reads them, and repair makes a header
        elif closed:
            assert judged.kinds == ["corrupt_frame"], where
        if not last:
            assert len(judged.left) >= len(damage.ROWS) - 1, where


@pytest.mark.parametrize(("sealed", "closed"), LOGS, ids=NAMES)
def test_a_file_cut_at_any_length_is_named_and_repaired(tmp_path: Path, sealed: bool, closed: bool) -> None:
    files, tried = whole(tmp_path / "wal", sealed=sealed, closed=closed), 0
    boundaries = {sum(map(len, oracle.frames(logs.plain(damage.SEGMENTS[0], 1))[:n])) for n in range(9)}
    for name in sorted(files):
        step = 1 if LONG or (closed and name != "wal-4.v1") else 29
        for size in range(0, len(files[name]), step):
            damage.restore(tmp_path / "wal", files)
            (tmp_path / "wal" / name).write_bytes(files[name][:size])
            # Whole frames cut off a plain segment leave a trace only where the state file knows its size.
            exact = closed and (name.endswith((".gz", "wal-7.v1")) or size not in boundaries)
            repaired = LONG or tried % 15 == 0
            judged = damage.judge(tmp_path / "wal", f"{name} cut to {size}", repaired=repaired, exact=exact)
            kinds = set(judged.kinds)
            if name.endswith(".gz") and size > 200:
                assert kinds == {"truncated_gzip"}, (name, size, judged)
            if name == "wal-7.v1" and closed and size:
                assert kinds & {"corrupt_frame", "unreadable_segment"}, (name, size, judged)
                assert judged.plan.damaged
            tried += 1
    print(f"{NAMES[LOGS.index((sealed, closed))]}: {tried} lengths")


def test_random_damage_is_never_read_as_a_record_and_is_repaired(tmp_path: Path) -> None:
    """Seed n does the same damage each time, and each hundredth (in the short form: tenth) is repaired as well."""
    logs_ = [whole(tmp_path / str(n), sealed=sealed, closed=closed) for n, (sealed, closed) in enumerate(LOGS)]
    kinds: Counter[str] = Counter()
    tally = Tally("random damage")
    for seeds in tally.numbers(2_000, 1_000_000, 100):
        for seed in seeds:
            dice = random.Random(seed)
            number = dice.randrange(len(LOGS))
            known, directory = logs_[number], tmp_path / str(number)
            files = damage.at_random(known, dice)
            damage.put(directory, files, known)
            if seed % (100 if LONG else 10):
                report = damage.look(directory, f"seed {seed}")["SALVAGE"][1]
                found = {str(fault.kind) for fault in report.faults}
                damage.put(directory, known, files)
            else:
                state = "walcore.state"
                found = repaired_at_random(directory, seed, state_changed=files.get(state) != known.get(state))
                damage.restore(directory, known)
            kinds.update(found)
            tally.more += bool(found)
    print(f"{tally.done} logs damaged at random, {tally.more} of them with a fault; in this run {dict(kinds)}")
    assert tally.more > 0


def repaired_at_random(directory: Path, seed: int, *, state_changed: bool) -> set[str]:
    """The kinds of faults, or that a repair that doesn't know whose log it is asks."""
    try:
        return set(damage.judge(directory, f"seed {seed}").kinds)
    except walcore.StoreMismatchError:
        assert state_changed or not (directory / "walcore.state").exists()
        return {"refused"}


# -- whole files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", harms.HARMS)
def test_damage_of_whole_files_is_named_and_repaired(tmp_path: Path, name: str) -> None:
    do, named, status, lost, actions = harms.HARMS[name]
    wal = damage.make(tmp_path / "wal")
    do(wal)
    verified, text = command("verify", wal)
    assert verified == status, text
    assert ("DAMAGED" in text) == bool(status), text
    assert all(kind in text for kind in named), text
    planned, text = command("repair", wal)
    assert planned == status, text
    assert all(action in text for action in actions), text
    before = folders.tree(wal)
    judged = damage.judge(wal, name, exact=True)
    assert sorted(judged.kinds) == named
    assert sorted(step.action for step in judged.plan.steps) == actions, judged.plan.steps
    assert set(damage.ROWS) - set(judged.left) == lost
    assert {lsn for first, last in judged.plan.lost for lsn in range(first, (last or 9) + 1)} == lost, judged.plan
    # Nothing that left the log is gone: it lies in the quarantine.
    after = folders.tree(wal)
    for file, content in before.items() if actions != ["cut"] else ():
        if file.startswith("wal-") and after.get(file) != content and content:
            assert any(path.startswith(f"quarantine/{file}.") and kept == content for path, kept in after.items()), file
    assert command("verify", wal)[0] == 0
    damage.opens(wal, name)


def command(*words: object) -> tuple[int, str]:
    """Exit status and all output of the command line, run in this process."""
    pytest.importorskip("rich")
    from walcore.cli import main

    stream = io.TextIOWrapper(said := io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        status = main([str(word) for word in words])
    return status, said.getvalue().decode()


# -- a crash while it repairs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", harms.HARMS)
def test_a_repair_that_is_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = damage.make(tmp_path / "wal")
    harms.HARMS[name][0](wal)
    expected = sorted(set(damage.ROWS) - harms.HARMS[name][3])
    kills = 0
    for nth, left in folders.every_kill(monkeypatch, wal, lambda path: walcore.repair(path).apply()):
        salvaged = {one[0] for one in damage.read(left, "SALVAGE")[0]}
        walcore.repair(left).apply()
        assert sorted(damage.check_repaired(left, f"killed at {nth}")) == expected, f"{nth}: {salvaged}"
        kills += 1
    print(f"{name}: killed at {kills} calls")


def test_a_plan_for_another_log_than_there_is_now_is_refused(tmp_path: Path) -> None:
    wal = damage.make(tmp_path / "wal")
    harms.remove("wal-1.v1.gz")(wal)
    plan = walcore.repair(wal)
    harms.remove("wal-4.v1.gz")(wal)
    before = folders.tree(wal)
    with pytest.raises(walcore.WalError, match="changed since"):
        plan.apply()
    assert {name: data for name, data in folders.tree(wal).items() if name != "lock"} == before


def test_lost_lsns_are_not_handed_out_again(tmp_path: Path) -> None:
    wal = damage.make(tmp_path / "wal")
    harms.remove(harms.LAST)(wal)
    walcore.repair(wal).apply()
    with walcore.open(wal) as log:
        assert log.log_mint(1, "I", "urn:new") == 10


def test_a_damaged_purge_marker_goes_aside_and_the_log_opens(tmp_path: Path) -> None:
    wal = damage.make(tmp_path / "wal")
    harms.put("walcore.purge", b"{")(wal)
    with pytest.raises(walcore.CorruptionError):
        walcore.open(wal)
    plan = walcore.repair(wal)
    assert plan.damaged
    plan.apply()
    damage.opens(wal, "marker")
