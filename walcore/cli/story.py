"""The demo's steps: read RDF, log it in a child, kill that, recover, compare, log the rest, read it all back."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from walcore.cli.crash import SEGMENT_BYTES, log_and_kill
from walcore.cli.output import count, progress, size, talk

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from walcore.cli.crash import Promise
    from walcore.rdf import RdfFile, Value
    from walcore.record import Record
    from walcore.segments import Segment

COMMIT_EVERY: Final = 500


class Story:
    """What the demo found out, in the order in which it did."""

    files: int
    bytes: int
    values: list[Value]
    every: int
    kill_after: int
    promise: Promise
    recovered: int
    recovered_in: float
    lost: int
    rest: int
    rest_in: float
    verified_in: float
    complete: bool
    segments: Sequence[Segment]


def tell(files: list[Path], wal: Path, spool: Path, dice: random.Random) -> Story:
    """All of it: `wal` is where the log goes, `spool` a file for what the child is to log, `dice` draws the kill."""
    story = Story()
    _parse(files, story)
    if len(story.values) < 2:
        msg = "there is nothing to show with less than two terms"
        raise click.ClickException(msg)
    _write_spool(story.values, spool)
    _crash(story, wal, spool, dice)
    records = _recover(story, wal)
    _load_rest(story, wal, records)
    _verify(story, wal)
    return story


def _parse(files: list[Path], story: Story) -> None:
    """Every distinct value in order of first appearance; of an invalid file, those before the fault."""
    from walcore.rdf import reason

    start = time.perf_counter()
    values: dict[Value, None] = {}
    root = os.path.commonpath([path.resolve().parent for path in files])
    with progress() as bar:
        task = bar.add_task("reading RDF", total=sum(path.stat().st_size for path in files))
        for path in files:
            name = os.path.relpath(path.resolve(), root)
            file = _rdf_file(path, lambda read: bar.advance(task, read))
            try:
                for value in file:
                    values[value] = None
            except SyntaxError as error:
                talk(f"{name}:{error.lineno}: no valid {file.format.name} ({reason(error)}); its rest is left out")
            if file.skipped:
                talk(f"{name}: {count(file.skipped, 'term')} left out that can't be a value")
    story.files = len(files)
    story.bytes = sum(path.stat().st_size for path in files)
    story.values = list(values)
    talk(f"read {count(story.files, 'file')}, {size(story.bytes)}: {count(len(values), 'distinct value')}"
         f" in {time.perf_counter() - start:.1f} s")  # fmt: skip


def _rdf_file(path: Path, on_read: Callable[[int], object]) -> RdfFile:
    from walcore.rdf import RdfFile

    try:
        return RdfFile(path, on_read=on_read)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _write_spool(values: list[Value], spool: Path) -> None:
    """What the child is to log, and the parent's own word for what that was."""
    from walcore.cli.ndjson import dumps

    with spool.open("w", encoding="utf-8") as file:
        file.writelines(f"{dumps([id_, *value])}\n" for id_, value in enumerate(values, 1))


def _crash(story: Story, wal: Path, spool: Path, dice: random.Random) -> None:
    total = len(story.values)
    story.every = min(COMMIT_EVERY, max(1, total // 8))  # a few terms are to make several commits as well
    commits = -(-total // story.every)
    story.kill_after = dice.randint(1, max(1, commits - 1))
    with progress() as bar:
        task = bar.add_task(f"logging, commit every {story.every}", total=total)
        story.promise = log_and_kill(
            wal, spool, story.every, story.kill_after, lambda done: bar.update(task, completed=done)
        )
    talk(f"killed the writing process after acknowledgement {count(story.kill_after)} of {count(commits)}")


def _recover(story: Story, wal: Path) -> Mapping[int, Record]:
    """Holds what was promised, and all else that is there, against what the parent knows."""
    import walcore

    start = time.perf_counter()
    records = walcore.recover(wal).records
    story.recovered_in = time.perf_counter() - start
    story.recovered = len(records)
    missing = sum(id_ not in records for id_ in range(1, story.promise.values + 1))
    changed = sum(not _is_right(record, story.values) for record in records.values())
    story.lost = missing + changed
    are = "is" if missing == 1 else "are"
    talk(
        f"recovered {count(len(records), 'value')} in {story.recovered_in:.2f} s; "
        f"{count(story.promise.values)} had been promised, {count(missing)} {are} missing, {count(changed)} changed"
    )
    return records


def _is_right(record: Record, values: list[Value]) -> bool:
    value = (record.kind, record.lexical, record.datatype, record.language)
    return 1 <= record.id <= len(values) and values[record.id - 1] == value


def _load_rest(story: Story, wal: Path, records: Mapping[int, Record]) -> None:
    import walcore

    rest = [id_ for id_ in range(1, len(story.values) + 1) if id_ not in records]
    with walcore.open(wal, create=False, max_segment_bytes=SEGMENT_BYTES) as log:
        start = time.perf_counter()
        for at in range(0, len(rest), story.every):
            ids = rest[at : at + story.every]
            _, last = log.log_mint_many([(id_, *story.values[id_ - 1]) for id_ in ids])
            log.commit(last)
        story.rest_in = time.perf_counter() - start
    story.rest = len(rest)


def _verify(story: Story, wal: Path) -> None:
    import walcore
    from walcore.segments import list_segments

    start = time.perf_counter()
    reader = walcore.read(wal)
    right = {record.id for record in reader if _is_right(record, story.values)}
    story.verified_in = time.perf_counter() - start
    story.complete = reader.report.complete and len(right) == len(story.values)
    story.segments = list_segments(wal)
