"""Whatever can be logged is read back the same, and the compiled encoder writes what the plain one does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import oracle
from hypothesis import example, given, settings
from hypothesis import strategies as st

import walcore
from walcore._core import encode

int32 = st.integers(-(2**31), 2**31 - 1)
# Any str at all: lone surrogates, controls, characters of every width.
text = st.text(st.characters(), max_size=200) | st.text(st.sampled_from('a"\\\n\0\x1f\x7fé€\U0001f600\ud83d\ude00'))
literal = st.tuples(int32, st.just("L"), text, text, text, int32)
other = st.tuples(int32, st.sampled_from("IBN"), text, st.just(""), st.just(""), int32)
record = literal | other


@given(st.integers(1, 2**63 - 1), record)
def test_the_core_writes_what_the_oracle_does(lsn: int, row: tuple[int, str, str, str, str, int]) -> None:
    assert encode.mint_frame(lsn, *row) == oracle.mint_frame(lsn, *row)


def paired(string: str) -> str:
    """What a str stands for in the format, as in Java: a high surrogate before a low one is one character."""
    return string.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def read_back(directory: Path) -> list[tuple[int, str, str, str, str, int]]:
    return [
        (r.id, str(r.kind), r.lexical, r.datatype, r.language, r.hash) for r in walcore.read(directory, mode="STRICT")
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(record, max_size=40),
    st.integers(4097, 9000),
    st.integers(1024, 8192),
    st.lists(st.sampled_from(["one", "many", "commit", "rotate", "flush", "reopen"]), min_size=1, max_size=8),
)
@example([(0, "L", "\ud83d\ude00", "\ude00\ud83d", "", 0)], 4097, 1024, ["one"])
@example([(0, "L", "x" * 5000, "", "", 0)] * 3, 4097, 1024, ["one", "many", "reopen"])
def test_any_records_in_any_sizes_of_buffer_and_segment_are_read_back(
    rows: list[tuple[int, str, str, str, str, int]], half: int, segment: int, steps: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory, logged = Path(name), 0
        settings = {"batch_buffer_bytes": half, "max_segment_bytes": segment}
        wal = walcore.open(directory, **settings)
        for step in steps:
            if step == "one":
                for row in rows:
                    wal.log_mint(*row)
                logged += 1
            elif step == "many":
                wal.log_mint_many(rows)
                logged += 1
            elif step == "reopen":
                wal.close()
                wal = walcore.open(directory, **settings)
            else:
                getattr(wal, step)()
        wal.close()
        stand_for = [(i, k, *map(paired, texts), h) for i, k, *texts, h in rows]
        assert read_back(directory) == stand_for * logged
        if logged and rows:
            reader = walcore.read(directory)
            assert [r.lsn for r in reader] == list(range(1, len(rows) * logged + 1))
            assert reader.report.complete
