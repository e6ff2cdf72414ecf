"""What does it cost to make one frame, without a log around it?"""

from __future__ import annotations

import pytest
from parameters import XSD_STRING
from pytest_benchmark.fixture import BenchmarkFixture
from records import value

from walcore._core.encode import mint_frame

CALLS = 10_000


def ascii_text(chars: int) -> str:
    return value(1, chars)


def escaped_text(chars: int) -> str:
    return '"\n😀é' * (chars // 4)


@pytest.mark.parametrize("chars", [32, 256])
@pytest.mark.parametrize("text", [ascii_text, escaped_text], ids=["ascii", "escaped"])
def bench_encode(benchmark: BenchmarkFixture, text: object, chars: int) -> None:
    assert callable(text)
    lexical = text(chars)
    benchmark.extra_info["unit"] = CALLS

    def encode() -> None:
        for number in range(CALLS):
            mint_frame(number, number, "L", lexical, XSD_STRING, "", 7)

    benchmark.pedantic(encode, rounds=5, warmup_rounds=1)
