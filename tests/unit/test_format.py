"""The numbers of the format, which logs that exist and RDF4J rely on; `docs/format.md` has them in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from walcore import format as fmt
from walcore.index import MIN_SEALED_BYTES
from walcore.jsonline import parse_line


def test_the_numbers_are_those_of_the_format() -> None:
    assert (fmt.LENGTH_SIZE, fmt.CRC_SIZE, fmt.FRAME_OVERHEAD) == (4, 4, 8)
    assert fmt.MAX_JSON_BYTES == 2**29
    assert (fmt.MIN_INT32, fmt.MAX_INT32, fmt.MAX_LSN) == (-2_147_483_648, 2_147_483_647, 9_223_372_036_854_775_807)
    assert fmt.FORMAT_VERSION == 1
    assert MIN_SEALED_BYTES == 16_384  # as docs/format.md has it


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("wal-1.v1", True),
        ("wal-0001.v1.gz", True),
        ("wal--5.v1", True),
        ("wal--5.v1.gz", True),
        ("wal-.v1", False),
        ("wal---5.v1", False),
        ("wal-1.v2", False),
        ("wal-1xv1", False),
        ("wal-1.v1.gzx", False),
        ("xwal-1.v1", False),
        ("wal-1.v1\n", False),
        ("wal-\u0661.v1", False),
        ("wal-1.v1.gz.walcore-index", False),
        ("wal-1.v1.walcore-tmp", False),
    ],
)
def test_names_of_segments_are_told_from_others(name: str, is_one: bool) -> None:
    assert fmt.is_segment_name(name) == is_one
    assert fmt.is_index_name(name + fmt.INDEX_SUFFIX) == (is_one and name.endswith(".gz"))
    assert not fmt.is_index_name(name) or name == "wal-1.v1.gz.walcore-index"


def test_none_of_our_names_is_a_segments() -> None:
    ours = (fmt.LOCK_NAME, fmt.STATE_NAME, fmt.PURGE_NAME, fmt.QUARANTINE_NAME)
    suffixes = (fmt.TEMPORARY_SUFFIX, fmt.INDEX_SUFFIX)
    assert not any(map(fmt.is_segment_name, [*ours, *("wal-1.v1" + suffix for suffix in suffixes)]))


def test_a_name_is_made_of_the_first_id() -> None:
    assert [fmt.segment_name(id) for id in (-5, 0, 1, 2**31 - 1)] == [
        "wal-0.v1", "wal-0.v1", "wal-1.v1", "wal-2147483647.v1",
    ]  # fmt: skip
    assert fmt.segment_name(7, 3) == "wal-0007.v1"


def test_a_quarantined_name_fits_a_file_system() -> None:
    """With the offsets and the LSN at their longest."""
    longest = f"quarantine/{'x' * fmt.MAX_NAME_CHARS}.{2**63 - 1}-{2**63 - 1}.lsn{fmt.MAX_LSN}{fmt.TEMPORARY_SUFFIX}"
    assert len(Path(longest).name) < 256


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a":nope}', "no valid JSON at byte 5 of 10: b'nope}'"),
        (b"x" * 100, f"no valid JSON at byte 0 of 100: {b'x' * 20!r}"),
        (b"[1]", "not a JSON object but list"),
        (b'"a"', "not a JSON object but str"),
    ],
)
def test_a_line_that_is_no_object_is_told_where_it_goes_wrong(line: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        parse_line(line)
