"""What a power cut may leave of writes that no sync covered, of one file at a time."""

from __future__ import annotations

from random import Random

import pytest

from walcore.testing import states
from walcore.testing.journal import Node, Pending, Write

NODE = Node("file", 0o640, is_folder=False)
BEFORE = bytes(range(1, 201)) * 50


def pending(*writes: tuple[int, bytes]) -> Pending:
    return Pending(bytearray(BEFORE), {}, [(step, Write(NODE, *one)) for step, one in enumerate(writes)])


@pytest.mark.parametrize(("offset", "size"), [(100, 400), (100, 5), (600, 3000), (0, 513), (4000, 4200)])
@pytest.mark.parametrize("unit", [1, 512, 4096])
def test_a_torn_write_ends_where_a_unit_does(
    monkeypatch: pytest.MonkeyPatch, offset: int, size: int, unit: int
) -> None:
    monkeypatch.setattr(states, "UNITS", (unit,))
    data = b"\xff" * size
    ends = {at for at in range(offset, offset + size) if at % unit == 0}
    allowed = {BEFORE[:offset] + data[: end - offset] + BEFORE[end:] for end in ends} | {BEFORE}
    left = {bytes(states._torn_last(pending((offset, data)), Random(seed))) for seed in range(3000)}
    assert left <= allowed
    assert len(left) == len(allowed) or unit == 1


@pytest.mark.parametrize(
    ("offset", "size", "unit", "pages"),
    [
        (0, 1, 4096, [0]), (0, 4096, 4096, [0]), (0, 4097, 4096, [0, 1]), (4095, 2, 4096, [0, 1]),
        (5000, 10, 4096, [1]), (5000, 10, 512, [9]), (1023, 514, 512, [1, 2, 3]), (7, 0, 512, []),
    ],
)  # fmt: skip
def test_a_write_is_on_the_pages_that_it_touches(offset: int, size: int, unit: int, pages: list[int]) -> None:
    assert list(states._pages(Write(NODE, offset, bytes(size)), unit)) == pages
