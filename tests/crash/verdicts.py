"""All that walcore says of a damaged log and makes of it, in words that are the same on every machine.

    python verdicts.py > verdicts.txt        takes what it says now for right; the difference is what a change did

The logs are those of `damage`, sealed by gzip without compression, so that what a damaged gzip still gives doesn't
hang on who packed it.
"""

from __future__ import annotations

import gzip
import json
import logging
import random
import re
import shutil
import struct
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import damage
import harms
import logs
import oracle
import scratch

import walcore

SEEDS = range(40)
"""Of damage at random, a case each."""
MANY = [range(1, 4), range(4, 6), range(6, 7), range(7, 11), range(11, 13)]
"""The LSNs in each segment of the logs that are damaged at random."""


def cases() -> dict[str, Callable[[Path], object]]:
    """By name, what makes a damaged log in a folder that isn't there yet."""
    made: dict[str, Callable[[Path], object]] = {"no damage": make, "no damage, after a crash": after_a_crash}
    for name, (do, *_) in harms.HARMS.items():
        made[name] = lambda wal, do=do: (make(wal), do(wal))  # type: ignore[misc]
    for seed in SEEDS:
        made[f"seed {seed}"] = lambda wal, seed=seed: at_random(wal, seed)  # type: ignore[misc]
    return made


def make(wal: Path, *, sealed: bool = True, closed: bool = True) -> Path:
    damage.make(wal, sealed=sealed, closed=closed)
    for path in wal.glob("*.gz"):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 0, mtime=0))
    return wal


def after_a_crash(wal: Path) -> None:
    make(wal, sealed=False, closed=False)


def at_random(wal: Path, seed: int) -> None:
    """Files that are gone or there twice, and bytes in one to three of them that are no longer what they were."""
    dice = random.Random(seed)
    for number, lsns in enumerate(MANY, 1):
        records = [logs.record(lsn, lsn * 7 % 31) for lsn in lsns]
        ids = [one.id for one in records]
        plain = oracle.header_frame(logs.STORE, 1_700_000_000 + number * 1000, number, ids[0])
        plain += b"".join(map(logs.mint, records))
        seal = number < len(MANY) and seed % 2
        name = f"wal-{ids[0]}.v1{'.gz' if seal else ''}"
        logs.write(wal, name, logs.sealed(plain, max(ids), level=0) if seal else plain)
    if seed % 3:
        damage.vouch(wal, MANY[-1][-1])
    whole = {path.name: path.read_bytes() for path in sorted(wal.iterdir())}
    files = damage.at_random(whole, dice)
    for name in dice.sample(sorted(files), dice.choice((0, 0, 1, 1, 2))):
        (wal / name).unlink()
        if dice.random() < 0.5:
            files[name.replace("-", "-0", 1)] = files[name]
        del files[name]
    for name, content in files.items():
        (wal / name).write_bytes(content)


# -- what is told ------------------------------------------------------------------------------------------------------


def verdict(wal: Path) -> str:
    """What readers, search, recovery, opening and repair say of the log in `wal`, which is repaired by that."""
    opened = wal.with_name("opened")
    shutil.copytree(wal, opened)
    lines = [*reading(wal), *searching(wal), *repairing(wal), *files(wal), *opening(opened), *files(opened)]
    text = "".join(f"{line}\n" for line in lines).replace(str(opened), "LOG").replace(str(wal), "LOG")
    return re.sub(r"Error -?\d+ while decompressing data: [\w ]+", "the codec's words", text)


def met(work: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What `work` gives, and a line for each warning and for the error that ends it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found, error = work(), []
        except (walcore.WalError, ValueError) as exc:
            found, error = None, [f"  {type(exc).__name__}: {exc}"]
    return found, [f"  {one.category.__name__}: {one.message}" for one in caught] + error


def reading(wal: Path) -> Iterator[str]:
    last: list[str] = []
    for mode in damage.MODES:
        lines = list(one_reading(wal, mode))
        yield f"{mode}: {'the same' if lines == last else lines[0]}"
        yield from lines[1:] if lines != last else ()
        last = lines
    recovered, said = met(lambda: walcore.recover(wal))
    yield f"recover: {[one.lsn for one in recovered.records.values()] if recovered else None}"
    yield from said


def one_reading(wal: Path, mode: str) -> Iterator[str]:
    reader = walcore.read(wal, mode=mode)
    rows: list[int] = []
    _, said = met(lambda: rows.extend(one.lsn for one in reader))
    report = reader.report
    yield str(rows)
    yield from said
    ends = f"{report.first_lsn} to {report.last_lsn} of {report.segments} segments"
    flags = [name for name in ("complete", "finished", "cut_short") if getattr(report, name)]
    yield f"  {report.records} records, {ends}; {', '.join(flags)}"
    yield from fault_lines(report.faults)


def fault_lines(faults: tuple[walcore.Fault, ...]) -> Iterator[str]:
    for one in faults:
        around = f"between {one.lsn_before} and {one.lsn_after}"
        yield f"  {one.kind} in {one.segment} at byte {one.offset}, {around}: {one.detail}"


def searching(wal: Path) -> Iterator[str]:
    before: list[str] = []
    for id in (1, 5, 9, 28, 50):
        found, said = met(lambda id=id: walcore.find(wal, id))  # type: ignore[misc]
        said = [line.replace(f"of id {id} ", "of that id ") for line in said]
        yield f"find {id}: {found and found.lsn}{', with the same warning' if said and said == before else ''}"
        yield from said if said != before else ()
        before = said


def repairing(wal: Path) -> Iterator[str]:
    plan, said = met(lambda: walcore.repair(wal))
    yield f"repair: {'damaged' if plan and plan.damaged else 'no damage' if plan else 'refused'}"
    yield from said
    if plan is None:
        return
    yield from fault_lines(plan.faults)
    for step in plan.steps:
        yield f"  {step.action} {step.segment}, {step.number}: {step.detail}"
    yield f"  lost: {list(plan.lost)}, ids {list(plan.lost_ids)}"
    kept, said = met(plan.apply)
    yield f"repaired, kept aside: {sorted(kept or ())}"
    yield from said


def opening(wal: Path) -> Iterator[str]:
    notes: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: notes.append(f"  {record.levelname}: {record.getMessage()}")  # type: ignore[method-assign]
    logger = logging.getLogger("walcore")
    logger.addHandler(handler)
    try:
        log, said = met(lambda: walcore.open(wal, max_segment_bytes=1 << 20))
        if log is not None:
            log.close()
    finally:
        logger.removeHandler(handler)
    yield "open:" if log is not None else "open: refused"
    yield from said
    yield from notes
    if log is None:
        return
    found = log.opening
    yield f"  next LSN {found.next_lsn}, segment {found.next_number}; {'clean' if found.clean else 'not clean'}"
    yield f"  scanned {list(found.scanned)}, to seal {[one.name for one in found.to_seal]}"
    for what in ("cut", "quarantined", "deleted"):
        for one in getattr(found, what):
            yield f"  {what}: {one.segment} at {one.offset}, {one.size} bytes, LSN {one.lsn_before} before,"
            yield f"    {one.lsn_highest} highest, to {one.copy}: {one.reason}"
    yield from fault_lines(found.faults)
    yield from (f"  {one}" for one in found.warnings)
    yield f"  state: {json.dumps(asdict(found.state))}"


def files(wal: Path) -> Iterator[str]:
    """Each file of the log, with its header and the LSNs that a plain reading of its frames finds."""
    for path in sorted(wal.rglob("*")):
        if path.is_file() and path.name not in {"lock", "walcore.state"} and not path.name.endswith("walcore-index"):
            yield f"  {path.relative_to(wal)}: {content(path)}"


def content(path: Path) -> str:
    data = path.read_bytes()
    try:
        plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        frames = [oracle.parse(whole) for whole in oracle.frames(plain)]
    except (AssertionError, OSError, EOFError, ValueError, struct.error, zlib.error):
        return f"{len(data)} bytes, not all of them frames"
    lsns = [frame["lsn"] for frame in frames if frame["t"] == "M"]
    heads = [f"segment {frame['segment']} of {frame['store'][:4]}" for frame in frames if frame["t"] == "V"]
    heads += [f"first id {frame['firstId']}, created {frame['created']}" for frame in frames if frame["t"] == "V"]
    return "; ".join([str(lsns), *heads, *(f"last id {frame['lastId']}" for frame in frames if frame["t"] == "S")])


def main() -> None:
    for name, do in cases().items():
        with tempfile.TemporaryDirectory(dir=scratch.memory()) as folder:
            do(Path(folder, "wal"))
            print(f"=== {name}\n{verdict(Path(folder, 'wal'))}", end="")


if __name__ == "__main__":
    main()
