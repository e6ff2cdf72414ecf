"""Whatever a log holds, and whatever harm it came to: read_arrow gives what read gives, in every mode."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import logs
from arrows import same
from hypothesis import given, settings
from hypothesis import strategies as st

from walcore.reader import ReadMode
from walcore.record import Record

if TYPE_CHECKING:
    import pytest

TEXT = st.text(max_size=40)
INT32 = st.integers(-(2**31), 2**31 - 1)
ROW = st.tuples(INT32, st.sampled_from("IBLN"), TEXT, st.sampled_from(["", "urn:a", "urn:é"]) | TEXT, TEXT, INT32)
SEGMENTS = st.lists(st.lists(ROW, max_size=12), min_size=1, max_size=4)
ALL = [logs.record(lsn, lexical=f"value {lsn} é \U0001f600") for lsn in range(1, 31)]


def frame(record: Record, usual: bool) -> bytes:
    """A frame as RDF4J writes it, or one with spaces, which only the JSON parser reads."""
    if usual:
        return logs.mint(record)
    fields = {"t": "M", **logs.as_row(record)}
    return logs.raw_frame(json.dumps(fields).encode() + b"\n")


@settings(max_examples=150, deadline=None)
@given(SEGMENTS, st.booleans(), st.integers(1, 20), st.data())
def test_any_log_gives_the_records_that_read_gives(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[tuple[int, str, str, str, str, int]]],
    seal: bool,
    batch_rows: int,
    data: st.DataObject,
) -> None:
    directory = tmp_path_factory.mktemp("log")
    written: list[Record] = []
    for number, segment in enumerate(rows, 1):
        records = [Record(lsn, *row) for lsn, row in enumerate(segment, len(written) + 1)]
        content = logs.plain([], number) + b"".join(frame(one, data.draw(st.booleans())) for one in records)
        last_id = max([0, *(one.id for one in records)])
        name = f"wal-{number}.v1"
        logs.write(directory, name + ".gz" if seal else name, logs.sealed(content, last_id) if seal else content)
        written += records
    for mode in ReadMode:
        assert same(directory, mode, batch_rows) == written


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_gives_what_read_gives_of_it(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("log")
    for number, first in enumerate((0, 10, 20), 1):
        part = ALL[first : first + 10]
        content, name = logs.plain(part, number), f"wal-{number}.v1"
        if data.draw(st.booleans()):
            name, content = name + ".gz", logs.sealed(content, part[-1].id)
        if data.draw(st.integers(0, 3)):
            start = data.draw(st.integers(0, len(content) - 1))
            end = data.draw(st.integers(start, min(start + 600, len(content))))
            content = content[:start] + data.draw(st.binary(max_size=40)) + content[end:]
        logs.write(directory, name, content)
    for mode in ReadMode:
        same(directory, mode, data.draw(st.integers(1, 12)))
