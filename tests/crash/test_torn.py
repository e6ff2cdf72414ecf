"""The end of the newest segment is cut or garbled, opened, written to, and torn again: what stood before stays."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import player
import pytest
import witness
from tally import LONG

import walcore

ROUNDS = 40 if LONG else 6
Damage = Callable[[bytes, int, random.Random], bytes]


def cut(data: bytes, keep: int, chance: random.Random) -> bytes:
    return data[: chance.randrange(keep, len(data) + 1)]


def zeros_behind(data: bytes, keep: int, chance: random.Random) -> bytes:
    return cut(data, keep, chance) + bytes(chance.choice([1, 4, 100, 4096]))


def zero_pages(data: bytes, keep: int, chance: random.Random) -> bytes:
    """Sectors of 512 bytes that never reached the disk, behind what was promised."""
    first = -(-keep // 512)
    if first >= len(data) // 512:
        return cut(data, keep, chance)
    lost = chance.randrange(first, len(data) // 512) * 512
    return data[:lost] + bytes(512) + data[lost + 512 :]


def half_a_frame_behind(data: bytes, keep: int, chance: random.Random) -> bytes:
    return data + data[keep - chance.randrange(1, 60) : keep]


def a_length_that_claims_much(data: bytes, keep: int, chance: random.Random) -> bytes:
    return cut(data, keep, chance) + chance.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\x20"])


@pytest.mark.parametrize("damage", [cut, zeros_behind, zero_pages, half_a_frame_behind, a_length_that_claims_much])
def test_what_was_promised_survives_tear_upon_tear(tmp_path: Path, damage: Damage) -> None:
    directory, chance = tmp_path / "wal", random.Random(damage.__name__)
    promised: dict[int, tuple[Any, ...]] = {}
    for number in range(ROUNDS):
        child = os.fork()
        if child == 0:
            wal = walcore.open(directory, **player.SETTINGS)
            first = number * 100 + 1
            for id in range(first, first + 5):
                wal.commit(wal.log_mint(*player.fields(id)))
            wal.log_mint_many([player.fields(id) for id in range(first + 5, first + 12)])
            wal.flush()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        rows = witness.read(directory)
        assert promised.items() <= rows.items()
        # Five of each process were promised; the rest may go, in the segment that is not sealed yet.
        newest = max(directory.glob("wal-*.v1"), key=lambda path: path.stat().st_mtime_ns)
        data = newest.read_bytes()
        fresh = [lsn for lsn, row in rows.items() if row[0] > number * 100 and (row[0] - 1) % 100 < 5]
        promised |= {lsn: rows[lsn] for lsn in fresh}
        # The end of the last frame promised, else of the header: four bytes of CRC stand behind the line's end.
        keep = data.index(b"\n", max(0, data.find(b'"lsn":%d,' % max(promised)))) + 5
        newest.write_bytes(damage(data, keep, chance))
        with walcore.open(directory, **player.SETTINGS) as wal:
            assert wal.opening.faults == (), damage.__name__
            assert wal.last_lsn >= max(promised)
            id = number * 100 + 50
            lsn = wal.log_mint(*player.fields(id))
            assert lsn > max(promised)
            wal.commit(lsn)
            promised[lsn] = player.fields(id)
        rows = witness.read(directory)
        assert promised.items() <= rows.items(), f"round {number} after {damage.__name__}"
        assert all(row == player.fields(row[0]) for row in rows.values())
    assert walcore.recover(directory).report.complete
