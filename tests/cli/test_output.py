"""Numbers for a person."""

from __future__ import annotations

import pytest

pytest.importorskip("rich")

from walcore.cli import output
from walcore.cli.indexes import described


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (999_000, "999.0 kB"),
        (1_000_000, "1.0 MB"),
        (12_100_000_000, "12.1 GB"),
        (5 * 10**12, "5.0 TB"),
        (7 * 10**15, "7000.0 TB"),
    ],
)
def test_sizes_are_told_in_powers_of_ten(number, text):
    assert output.size(number) == text


def test_rates_have_three_digits():
    assert output.rate(349_640, 1) == "350,000/s"
    assert output.rate(3, 2) == "2/s"
    assert output.rate(1234, 0.5) == "2,470/s"
    assert output.rate(0, 0) == "0/s"


def test_one_thing_is_no_plural():
    assert [output.count(n, "record") for n in (0, 1, 2, 1200)] == [
        "0 records",
        "1 record",
        "2 records",
        "1,200 records",
    ]
    assert output.count(2, "entry", "entries") == "2 entries"
    assert output.count(1_200_000) == "1,200,000"


@pytest.mark.parametrize(
    ("stale", "damaged", "words"),
    [
        (0, 0, ""),
        (1, 0, "; 1 of another file: the next opening makes them anew"),
        (0, 2, "; 2 damaged: delete them, the next opening makes them anew"),
        (
            3,
            1,
            (
                "; 3 of another file: the next opening makes them anew"
                "; 1 damaged: delete them, the next opening makes them anew"
            ),
        ),
    ],
)
def test_indexes_that_are_of_no_use_are_told(stale, damaged, words):
    facts = {"indexes": 4, "indexes_stale": stale, "indexes_damaged": damaged, "index_bytes": 1500}
    assert described(facts) == "4 of sealed segments, 1.5 kB" + words
