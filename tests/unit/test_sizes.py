"""Records larger than buffer and segment, a buffer that is full, and a segment filled to the byte."""

from __future__ import annotations

from pathlib import Path

import oracle
import pytest
from folders import lsns

import walcore


def test_frames_larger_than_half_and_segment_lie_in_order_between_small_ones(tmp_path: Path) -> None:
    sizes = [10, 5000, 3, 200_000, 200_000, 7, 4000, 1_000_000, 1]
    with walcore.open(tmp_path, batch_buffer_bytes=8192, max_segment_bytes=20_000) as wal:
        for i, size in enumerate(sizes):
            wal.log_mint(i, "L", chr(0x61 + i) * size)
        wal.log_mint_many([(100 + i, "L", chr(0x100 + i) * size) for i, size in enumerate(sizes)])
        wal.commit()
        assert wal.stats().buffered_bytes == 0
    records = list(walcore.read(tmp_path, mode="STRICT"))
    assert [r.lsn for r in records] == list(range(1, 19))
    assert [len(r.lexical) for r in records] == sizes * 2
    assert [r.lexical[0] for r in records[9:]] == [chr(0x100 + i) for i in range(9)]


def test_what_no_frame_can_hold_is_refused_at_the_call(tmp_path: Path) -> None:
    with walcore.open(tmp_path) as wal:
        huge = "\0" * (90 * 1024 * 1024)  # six bytes each
        with pytest.raises(walcore.RecordTooLargeError, match="536870912"):
            wal.log_mint(1, "L", huge)
        with pytest.raises(walcore.RecordTooLargeError, match="row 1"):
            wal.log_mint_many([(1, "L", "x"), (1, "L", huge)])
        assert wal.last_lsn == 0


def test_a_full_buffer_makes_the_producer_wait_not_lose(tmp_path: Path) -> None:
    with walcore.open(tmp_path, batch_buffer_bytes=4097) as wal:
        for i in range(5000):
            wal.log_mint(i, "L", "x" * 40)
    assert lsns(tmp_path) == list(range(1, 5001))


@pytest.mark.parametrize("id", [0, 7, -2147483648, 2147483647])
def test_a_segment_holds_what_fits_to_the_byte(tmp_path: Path, id: int) -> None:
    store, text = "0f8fad5b-d9cb-469f-a165-70867728950e", "x" * 600
    header = len(oracle.header_frame(store, 1_700_000_000, 1, id))
    frames = sum(len(oracle.mint_frame(lsn, id, "I", text, "", "", 0)) for lsn in (1, 2))
    for limit, segments in ((header + frames, 1), (header + frames - 1, 2)):
        directory = tmp_path / str(limit)
        with walcore.open(directory, store_uuid=store, max_segment_bytes=limit) as wal:
            for _ in range(2):
                wal.log_mint(id, "I", text)
        assert walcore.recover(directory).report.segments == segments
