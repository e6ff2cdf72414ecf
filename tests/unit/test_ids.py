"""The pages of an index, held against a dictionary of sets."""

from __future__ import annotations

import random
from collections import defaultdict

import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walcore._core.decode import Decoder
from walcore._core.encode import crc32c
from walcore._core.ids import IdRun, blocks_in, key_of, pages_with

LOW, HIGH = -(2**31), 2**31 - 1
ENTRY = 8


class Run:
    """An encoded run, and what it is made of."""

    def __init__(self, blocks: list[list[int]], offset: int = 0) -> None:
        self.blocks: dict[int, set[int]] = defaultdict(set)
        run = IdRun()
        for block, ids in enumerate(blocks):
            run.block = block
            frames = b"".join(oracle.mint_frame(1, id, "I", "") for id in ids)
            Decoder(ids=run).decode(frames, 0, len(frames), [])
            for id in ids:
                self.blocks[id].add(block)
        self.count = len(run)
        self.shift, self.lowest, self.highest, self.table, self.pages = run.encode(offset)
        self.offset = offset
        assert len(run) == 0

    def page(self, number: int) -> tuple[int, bytes]:
        """A page's first key, and its bytes."""
        starts = [
            int.from_bytes(self.table[at + 4 : at + 8], "little") - self.offset
            for at in range(0, len(self.table), ENTRY)
        ]
        first = int.from_bytes(self.table[number * ENTRY : number * ENTRY + 4], "little")
        return first, self.pages[starts[number] : [*starts, len(self.pages)][number + 1]]

    def found(self, id: int) -> list[int]:
        key = key_of(id, self.shift)
        numbers = range(*pages_with(self.table, key))
        return [block for number in numbers for block in blocks_in(self.page(number)[1], self.page(number)[0], key)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.one_of(st.integers(LOW, HIGH), st.integers(-5, 5), st.sampled_from([LOW, HIGH])), max_size=20),
        max_size=8,
    ),
    st.integers(0, 1000),
)
def test_every_id_is_found_in_its_blocks(blocks: list[list[int]], offset: int) -> None:
    run = Run(blocks, offset)
    if run.blocks:
        assert (run.lowest, run.highest) == (min(run.blocks), max(run.blocks))
    for id, expected in run.blocks.items():
        found = run.found(id)
        assert expected <= set(found)
        assert found == sorted(set(found))
        if run.shift == 0:
            assert expected == set(found)


@pytest.mark.parametrize("kind", ["rising", "random", "falling", "one id", "two clusters", "far apart"])
def test_many_ids_in_many_pages(kind: str) -> None:
    draw = random.Random(1)
    count, size = 40_000, 500
    ids = {
        "rising": list(range(-100, count - 100)),
        "random": [draw.randint(LOW, HIGH) for _ in range(count)],
        "falling": list(range(count, 0, -1)),
        "one id": [7] * count,
        "two clusters": [draw.choice((LOW, HIGH - 10_000)) + draw.randrange(10_000) for _ in range(count)],
        "far apart": [LOW, *range(count), HIGH],
    }[kind]
    run = Run([ids[at : at + size] for at in range(0, len(ids), size)], 10)
    for id in (*draw.sample(sorted(run.blocks), min(400, len(run.blocks))), min(run.blocks), max(run.blocks)):
        assert run.blocks[id] <= set(run.found(id))
    absent = [id for id in (draw.randint(run.lowest, run.highest) for _ in range(2000)) if id not in run.blocks]
    assert sum(bool(run.found(id)) for id in absent) <= len(absent) / 50
    if kind == "rising":
        assert len(run.pages) + len(run.table) < count * 5 / 8
    if kind == "random":
        assert len(run.pages) + len(run.table) < count * (8 + 1 + 7 + 1) / 8


def test_no_ids_no_pages() -> None:
    assert IdRun().encode(5) == (0, 0, 0, b"", b"")
    assert pages_with(b"", 7) == (0, 0)


def test_a_damaged_page_is_an_error_and_never_read_beyond() -> None:
    run = Run([[draw] for draw in random.Random(2).sample(range(LOW, HIGH), 3000)])
    first, page = run.page(1)
    for at in range(0, len(page) * 8, 7):
        broken = bytearray(page)
        broken[at // 8] ^= 1 << at % 8
        with pytest.raises(ValueError, match="checksum"):
            blocks_in(bytes(broken), first, first)
    for size in range(0, len(page), 5):
        with pytest.raises(ValueError, match="checksum"):
            blocks_in(page[:size], first, first)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_page_that_somebody_made_up_is_read_or_refused(page: bytes, first: int, key: int) -> None:
    try:
        found = blocks_in(page + crc32c(page).to_bytes(4, "little"), first, key)
    except ValueError:
        return
    assert found == [] or key >= first


def test_a_shift_that_is_none() -> None:
    for shift in (-1, 32):
        with pytest.raises(ValueError, match="no shift"):
            key_of(1, shift)
    assert [key_of(id, 0) for id in (LOW, -1, 0, HIGH)] == [0, 2**31 - 1, 2**31, 2**32 - 1]
