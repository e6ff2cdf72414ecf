"""Directories that are sound, that are damaged by chance, and that a power cut left: what readers are compared on.

Each follows from its seed, so that a difference can be looked at again.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import player

import walcore

Dice = random.Random


def flip_a_bit(files: list[Path], dice: Dice) -> None:
    path = dice.choice(files)
    data = bytearray(path.read_bytes())
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)


def cut_off(files: list[Path], dice: Dice) -> None:
    path = dice.choice(files)
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size + 1)])


def lose_a_sector(files: list[Path], dice: Dice) -> None:
    path = dice.choice(files)
    data = path.read_bytes()
    at = dice.randrange(len(data) // 512 + 1) * 512
    path.write_bytes(data[:at] + bytes(len(data[at : at + 512])) + data[at + 512 :])


def add_garbage(files: list[Path], dice: Dice) -> None:
    with dice.choice(files).open("ab") as file:
        file.write(dice.choice([bytes(64), dice.randbytes(30), b"\xff\xff\xff\x7f", b"\x01"]))


def lose_a_file(files: list[Path], dice: Dice) -> None:
    dice.choice(files).unlink()


def swap_two(files: list[Path], dice: Dice) -> None:
    one, other = dice.choice(files), dice.choice(files)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def overwrite_some(files: list[Path], dice: Dice) -> None:
    path = dice.choice(files)
    data = bytearray(path.read_bytes())
    if data:
        at = dice.randrange(len(data))
        some = dice.randbytes(dice.randint(1, 16))
        path.write_bytes(data[:at] + some + data[at + len(some) :])


DAMAGES: Final[tuple[Callable[[list[Path], Dice], None], ...]] = (
    flip_a_bit, flip_a_bit, cut_off, lose_a_sector, add_garbage, lose_a_file, swap_two, overwrite_some,
)  # fmt: skip


GOLDEN: Final = ("always", "frame-larger-than-segment", "ids-not-monotone", "interval", "reopen", "rotation", "values")
"""The shared folder's logs with which nothing is wrong, but for a long one."""


def sound(folder: Path) -> list[Path]:
    """Logs as walcore leaves them: plain and sealed segments, one of a frame larger than a segment."""
    logs = []
    for number, sizes in enumerate([(3,), (9, 14), (5, 9, 9), (0,), (2, 1, 1)]):
        directory, ids = folder / f"sound-{number}", itertools.count(1 + number * 100 if number < 4 else 1000)
        for size in sizes:
            with walcore.open(directory, store_uuid=player.STORE, **player.SETTINGS) as wal:
                wal.log_mint_many([player.fields(id) for id in itertools.islice(ids, size)])
        logs.append(directory)
    return logs


def damaged(logs: list[Path], folder: Path, seed: int) -> Path:
    """A copy of one of the logs, damaged once to three times."""
    dice = Dice(seed)
    copy = folder / f"damaged-{seed}"
    shutil.copytree(dice.choice(logs), copy)
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        files = sorted(copy.glob("wal-*"))
        if files:
            dice.choice(DAMAGES)(files, dice)
    return copy


def all_damaged(logs: list[Path], folder: Path, seeds: range) -> Iterator[Path]:
    for seed in seeds:
        yield damaged(logs, folder, seed)
