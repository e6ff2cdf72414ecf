"""The compiled encoder against the plain one, at the edges that a property would meet too seldom."""

from __future__ import annotations

from typing import Any

import oracle
import pytest

import walcore
from walcore import InvalidRecordError, ValueKind
from walcore._core import encode

EDGES = [0, 1, -1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 99999, 2**31 - 1, -(2**31)]


@pytest.mark.parametrize("number", EDGES)
def test_numbers_of_every_width(number: int) -> None:
    for lsn in (*[10**n for n in range(19)], *[10**n - 1 for n in range(1, 19)], 2**63 - 1):
        assert encode.mint_frame(lsn, number, "I", "x", hash=number) == oracle.mint_frame(
            lsn, number, "I", "x", hash=number
        )


def test_every_code_point_of_the_basic_plane_alone_and_in_company() -> None:
    for start in range(0, 0x11000, 0x800):
        text = "".join(map(chr, range(start, start + 0x800)))
        assert encode.mint_frame(1, 1, "L", text) == oracle.mint_frame(1, 1, "L", text)
    for code in [*range(0x100), 0x7FF, 0x800, 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0xFEFF, 0xFFFF, 0x10000, 0x10FFFF]:
        assert encode.mint_frame(1, 1, "L", chr(code)) == oracle.mint_frame(1, 1, "L", chr(code)), hex(code)


@pytest.mark.parametrize("place", range(24))
@pytest.mark.parametrize("odd", ['"', "\\", "\0", "\x1f", "\n", "\x7f", "é", "€", "\U0001f600", "\ud800"])
def test_one_odd_character_at_every_place_of_a_word(place: int, odd: str) -> None:
    text = "x" * place + odd + "x" * (23 - place)
    assert encode.mint_frame(7, 7, "L", text, text, text) == oracle.mint_frame(7, 7, "L", text, text, text)


def test_header_and_summary() -> None:
    store = 'a "store"\ud800'
    assert encode.header_frame(store, 1_700_000_000, 12, -5) == oracle.header_frame(store, 1_700_000_000, 12, -5)
    assert encode.summary_frame(0, 2**32 - 1) == oracle.summary_frame(0, 2**32 - 1)


def test_a_kind_is_a_member_or_its_letter() -> None:
    for kind in ValueKind:
        assert encode.mint_frame(1, 1, kind, "x") == encode.mint_frame(1, 1, kind.value, "x")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((2**31, "I", "x"), "id"),
        ((-(2**31) - 1, "I", "x"), "id"),
        ((2**80, "I", "x"), "id"),
        ((1, "X", "x"), "kind"),
        ((1, "", "x"), "kind"),
        ((1, "IB", "x"), "kind"),
        ((1, "\u0149", "x"), "kind"),
        ((1, "L", "x", "", "", 2**31), "hash"),
        ((1, "I", "x", "datatype"), "datatype"),
        ((1, "B", "x", "", "en"), "language"),
        ((1, "N", "x", "", "en"), "language"),
    ],
)
def test_a_value_out_of_range_is_named(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(InvalidRecordError, match=field) as caught:
        encode.mint_frame(1, *arguments)
    assert caught.value.field == field
    assert caught.value.row is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("1", "I", "x"), "id"),
        ((1.0, "I", "x"), "id"),
        ((None, "I", "x"), "id"),
        ((True, "I", "x"), "id"),
        ((1, 2, "x"), "kind"),
        ((1, "I", b"x"), "lexical"),
        ((1, "L", "x", None), "datatype"),
        ((1, "L", "x", "", 5), "language"),
        ((1, "L", "x", "", "", "5"), "hash"),
    ],
)
def test_a_wrong_type_is_a_type_error_that_names_the_argument(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(TypeError, match=field):
        encode.mint_frame(1, *arguments)


def test_integers_of_other_types_are_taken() -> None:
    numpy = pytest.importorskip("numpy")
    assert encode.mint_frame(1, numpy.int64(5), "I", "x") == encode.mint_frame(1, 5, "I", "x")


def test_the_checksum_chains_and_takes_any_buffer() -> None:
    assert encode.crc32c(b"123456789") == 0xE3069283
    assert encode.crc32c(memoryview(b"56789"), encode.crc32c(bytearray(b"1234"))) == 0xE3069283
    assert encode.crc32c_backend() in {"sse4.2", "armv8", "table"}
    assert walcore.__version__
