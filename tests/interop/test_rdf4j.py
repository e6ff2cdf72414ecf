"""RDF4J's own writer and walcore on the same directories, both ways and in turns."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import replay
from original import FIELDS

import walcore

pytestmark = pytest.mark.interop
STORE = "11111111-2222-3333-4444-555555555555"  # what the harness gives its logs
POLICIES = ["ALWAYS", "COMMIT", "INTERVAL"]
TEXTS = [
    "",
    "urn:x",
    "Zürich",
    '"\\/\b\t\n\f\r\0\x1f\x7f',
    "\u2028\ufeff\uffff",
    "😀\U0010ffff",
    "lone \ud800",
    "x" * 700,
]
Harness = Callable[..., list[str]]


@pytest.fixture
def harness(command: list[str]) -> Harness:
    def run(*arguments: object) -> list[str]:
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def dump(harness: Harness, directory: Path) -> list[tuple[Any, ...]]:
    """What RDF4J's side reads of a directory, as tuples of a Record's fields."""
    rows = [json.loads(line) for line in harness("dump", directory)]
    assert rows.pop() == {"last": rows[-1]["lsn"] if rows else 0}
    return [tuple(row[key] for key in FIELDS) for row in rows]


def fields(record: walcore.Record) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in record.__match_args__)


def read(directory: Path) -> list[tuple[Any, ...]]:
    reader = walcore.read(directory, mode="STRICT")
    records = [fields(record) for record in reader]
    assert reader.report.complete
    return records


def operations(path: Path, seed: int, first_id: int = 1, count: int = 120) -> Path:
    """Rising ids with an odd one now and then, every kind of text, syncs and sessions."""
    dice = random.Random(seed)
    with path.open("w") as file:
        for id in range(first_id, first_id + count):
            text = "".join(dice.choices(TEXTS, k=dice.randint(1, 3)))
            literal = dice.random() < 0.5
            mint = {"op": "mint", "id": id, "vk": "L" if literal else dice.choice("IBN"), "lex": text}
            mint |= {"dt": dice.choice(TEXTS) if literal else "", "lang": dice.choice(["", "en-GB"]) if literal else ""}
            print(json.dumps(mint | {"hash": dice.randint(-(2**31), 2**31 - 1)}), file=file)
            if dice.random() < 0.04:
                print(json.dumps({"op": dice.choice(["sync", "close"])}), file=file)
    return path


@pytest.mark.parametrize("policy", POLICIES)
def test_walcore_reads_what_rdf4j_wrote(harness: Harness, tmp_path: Path, policy: str) -> None:
    ops = operations(tmp_path / "ops.jsonl", seed=1)
    (tmp_path / "wal").mkdir()
    harness("gen", tmp_path / "wal", policy, 8192, ops)
    assert read(tmp_path / "wal") == replay.minted(ops) == dump(harness, tmp_path / "wal")


@pytest.mark.parametrize("policy", POLICIES)
def test_rdf4j_reads_what_walcore_wrote(harness: Harness, tmp_path: Path, policy: str) -> None:
    ops = operations(tmp_path / "ops.jsonl", seed=2)
    replay.replay(ops, tmp_path / "wal", max_segment_bytes=8192, sync_policy=policy)
    assert list((tmp_path / "wal").glob("*.gz"))
    assert dump(harness, tmp_path / "wal") == replay.minted(ops) == read(tmp_path / "wal")


def test_rdf4j_reads_over_places_where_decompressing_can_begin_and_passes_over_indexes(
    harness: Harness, tmp_path: Path
) -> None:
    dice = random.Random(6)
    with walcore.open(tmp_path / "wal", store_uuid=STORE) as wal:
        for first in (1, 20_001):
            wal.log_mint_many(range(first, first + 20_000), "L", [f"{dice.getrandbits(200):x}" for _ in range(20_000)])
            wal.rotate()
    assert len(list((tmp_path / "wal").glob("wal-*.gz.walcore-index"))) == 2
    assert dump(harness, tmp_path / "wal") == read(tmp_path / "wal")


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_both_write_the_same_frames(harness: Harness, tmp_path: Path, seed: int) -> None:
    ops = operations(tmp_path / "ops.jsonl", seed)
    (tmp_path / "theirs").mkdir()
    harness("gen", tmp_path / "theirs", "COMMIT", 16384, ops)
    replay.replay(ops, tmp_path / "ours", max_segment_bytes=16384, store_uuid=STORE)
    assert replay.segments(tmp_path / "ours") == replay.segments(tmp_path / "theirs")


def test_they_take_turns_on_one_directory(harness: Harness, tmp_path: Path) -> None:
    directory, expected = tmp_path / "wal", []
    directory.mkdir()
    for turn in range(4):
        ops = operations(tmp_path / "ops.jsonl", seed=10 + turn, first_id=1 + 1000 * turn)
        if turn % 2:
            replay.replay(ops, directory, max_segment_bytes=8192)
        else:
            harness("gen", directory, "COMMIT", 8192, ops)
        expected += [(lsn + 120 * turn, *rest) for lsn, *rest in replay.minted(ops)]
        assert read(directory) == expected, f"turn {turn}"
        assert dump(harness, directory) == expected, f"turn {turn}"


def test_rdf4j_reads_on_after_a_torn_tail_that_walcore_opened(harness: Harness, tmp_path: Path) -> None:
    ops = operations(tmp_path / "ops.jsonl", seed=20)
    (tmp_path / "wal").mkdir()
    harness("gen", tmp_path / "wal", "COMMIT", 1 << 20, ops)
    last = max((tmp_path / "wal").glob("wal-*.v1"), key=lambda path: int(path.stem[4:].split(".")[0]))
    with last.open("r+b") as file:
        file.truncate(last.stat().st_size - 3)
    with walcore.open(tmp_path / "wal") as wal:
        lsn = wal.log_mint(5000, "I", "urn:after")
        wal.commit(lsn)
    assert [row[1] for row in dump(harness, tmp_path / "wal")] == [*range(1, 120), 5000]
    assert lsn >= 120


@pytest.mark.parametrize(
    "harm", ["flip in the middle", "first header", "a sealed one cut", "one missing", "first gone"]
)
def test_rdf4j_reads_all_that_a_repair_left(harness: Harness, tmp_path: Path, harm: str) -> None:
    ops = operations(tmp_path / "ops.jsonl", seed=21)
    wal = tmp_path / "wal"
    replay.replay(ops, wal, max_segment_bytes=4096, store_uuid=STORE)
    segments = sorted(wal.glob("wal-*"), key=lambda path: int(path.name[4:].split(".")[0]))
    before = read(wal)
    victim = segments[0] if harm.startswith("first") else segments[1]
    data = bytearray(victim.read_bytes())
    if harm in ("one missing", "first gone"):
        victim.unlink()
    elif harm == "a sealed one cut":
        victim.write_bytes(data[: len(data) // 2])
    else:
        data[30 if harm == "first header" else len(data) // 2] ^= 4
        victim.write_bytes(data)
    plan = walcore.repair(wal)
    assert plan.damaged
    plan.apply()
    left = read(wal)
    assert dump(harness, wal) == left
    lost = {lsn for first, last in plan.lost for lsn in range(first, (last or first) + 1)}
    assert [row[0] for row in left] == [row[0] for row in before if row[0] not in lost]


@pytest.fixture
def java_holds(command: list[str], tmp_path: Path) -> Iterator[Path]:
    """A directory that RDF4J has open: its harness opens the log, and then waits for operations at a pipe."""
    directory, pipe = tmp_path / "wal", tmp_path / "ops"
    directory.mkdir()
    os.mkfifo(pipe)
    java = subprocess.Popen([*command, "gen", directory, "COMMIT", "8192", pipe])
    try:
        with pipe.open("w") as operations_of_java:  # blocks until the harness reads: by then it has the lock
            yield directory
            operations_of_java.write('{"op":"mint","id":1,"vk":"I","lex":"urn:x","dt":"","lang":"","hash":0}\n')
        assert java.wait(60) == 0
    finally:
        java.kill()
        java.wait()


def test_rdf4j_shuts_walcore_out(java_holds: Path) -> None:
    with pytest.raises(walcore.WalLockedError) as caught:
        walcore.open(java_holds)
    assert caught.value.holder.get("pid")
    assert list(walcore.read(java_holds)) == []


def test_walcore_shuts_rdf4j_out_until_it_closes(command: list[str], harness: Harness, tmp_path: Path) -> None:
    ops = operations(tmp_path / "ops.jsonl", seed=30, count=5)
    arguments = [*command, "gen", tmp_path / "wal", "COMMIT", "8192", ops]
    with walcore.open(tmp_path / "wal"):
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode != 0
        assert "locked" in done.stderr
    harness(*arguments[len(command) :])
    assert len(read(tmp_path / "wal")) == 5
