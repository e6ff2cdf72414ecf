"""Harm done to whole files of a log, by name, and what has to be made of each."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import damage
import logs
import oracle

LAST = "wal-7.v1"


def swap(one: str, other: str) -> Callable[[Path], object]:
    return lambda wal: [(wal / one).rename(wal / "x"), (wal / other).rename(wal / one), (wal / "x").rename(wal / other)]


def rename(name: str, new: str) -> Callable[[Path], object]:
    return lambda wal: (wal / name).rename(wal / new)


def remove(*names: str) -> Callable[[Path], object]:
    return lambda wal: [(wal / name).unlink() for name in names]


def copy(name: str, new: str, size: int | None = None) -> Callable[[Path], object]:
    return lambda wal: (wal / new).write_bytes((wal / name).read_bytes()[:size])


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda wal: (wal / name).write_bytes(content)


def change(name: str, at: int, new: bytes) -> Callable[[Path], object]:
    def work(wal: Path) -> None:
        data = bytearray((wal / name).read_bytes())
        data[at : at + len(new) if at >= 0 else len(data)] = new
        (wal / name).write_bytes(data)

    return work


def unpack(name: str) -> Callable[[Path], object]:
    """What `gunzip` makes of a sealed segment."""

    def work(wal: Path) -> None:
        (wal / name).with_suffix("").write_bytes(gzip.decompress((wal / name).read_bytes()))
        (wal / name).unlink()

    return work


FOREIGN = logs.plain([logs.record(50), logs.record(51)], 2, "99999999-2222-3333-4444-555555555555")
HEAD = len(logs.plain([], 1))
# What is done, the kinds of faults named, verify's status, the LSNs lost, what repair says that it does.
HARMS: dict[str, tuple[Callable[[Path], object], list[str], int, set[int], list[str]]] = {
    "names swapped": (swap("wal-1.v1.gz", "wal-4.v1.gz"), [], 0, set(), []),
    "a segment renamed": (rename("wal-4.v1.gz", "wal-0777.v1.gz"), [], 0, set(), []),
    "a sealed segment under a plain name": (
        rename("wal-4.v1.gz", "wal-4.v1"), ["missing_segment", "unreadable_segment"], 1, set(), ["rewrite"]),
    "a plain segment under a sealed name": (
        rename(LAST, LAST + ".gz"), ["missing_segment", "unreadable_segment"], 1, set(), ["forget", "rewrite"]),
    "a sealed segment unpacked": (unpack("wal-4.v1.gz"), [], 0, set(), []),
    "a segment twice": (
        copy("wal-4.v1.gz", "wal-44.v1.gz"), ["duplicate_segment"], 0, set(), ["set aside"]),
    "half a segment twice": (
        copy("wal-4.v1.gz", "wal-44.v1.gz", 200), ["duplicate_segment"], 0, set(), ["set aside"]),
    "the first segment missing": (remove("wal-1.v1.gz"), ["missing_segment"], 1, {1, 2, 3}, ["stand in"]),
    "a segment missing": (remove("wal-4.v1.gz"), ["missing_segment"], 1, {4, 5, 6}, ["stand in"]),
    "the last segment missing": (remove(LAST), ["missing_segment"], 1, {7, 8, 9}, ["forget"]),
    "two segments missing": (
        remove("wal-1.v1.gz", "wal-4.v1.gz"), ["missing_segment"], 1, {1, 2, 3, 4, 5, 6}, ["stand in", "stand in"]),
    "a segment of another store beside": (put("wal-50.v1", FOREIGN), ["foreign_store"], 1, set(), ["set aside"]),
    "a segment of another store in the place of one": (
        put("wal-4.v1.gz", logs.sealed(FOREIGN, 51)), ["foreign_store", "missing_segment"], 1, {4, 5, 6},
        ["set aside", "stand in"]),
    "a segment emptied": (put("wal-4.v1.gz", b""), ["empty_segment", "missing_segment"], 1, {4, 5, 6},
        ["set aside", "stand in"]),
    "a segment of noise": (
        put("wal-4.v1.gz", random.Random(1).randbytes(400)), ["missing_segment", "unreadable_segment"], 1, {4, 5, 6},
        ["set aside", "stand in"]),
    "a header of noise": (
        change(LAST, 10, b"noise"), ["missing_segment", "unreadable_segment"], 1, set(), ["forget", "rewrite"]),
    "the first record of noise": (change(LAST, HEAD + 10, b"noise"), ["corrupt_frame"], 1, {7}, ["rewrite"]),
    "the last record of zeros": (change(LAST, -60, bytes(60)), ["corrupt_frame"], 1, {9}, ["rewrite"]),
    "the last frame cut off": (change(LAST, -60, b""), ["corrupt_frame"], 1, {9}, ["forget", "rewrite"]),
    "bytes behind the last frame": (change(LAST, 10_000, b"\x07\0\0\0{}"), ["torn_tail"], 0, set(), ["cut"]),
    "a gzip's first bytes": (
        change("wal-4.v1.gz", 0, b"PK\3\4"), ["missing_segment", "unreadable_segment"], 1, set(), ["rewrite"]),
    "a gzip's checksum": (change("wal-4.v1.gz", -8, bytes(8)), ["corrupt_frame"], 1, set(), ["rewrite"]),
    "a gzip without its end": (change("wal-4.v1.gz", -8, b""), ["truncated_gzip"], 1, set(), ["rewrite"]),
    "bytes behind a gzip": (change("wal-4.v1.gz", 10_000, b"more"), ["corrupt_frame"], 1, set(), ["rewrite"]),
    "a wrong summary": (
        put("wal-4.v1.gz", gzip.compress(logs.plain(damage.SEGMENTS[1], 2) + oracle.summary_frame(6, 1))),
        ["summary_mismatch"], 1, set(), ["rewrite"]),
    "no summary": (
        put("wal-4.v1.gz", gzip.compress(logs.plain(damage.SEGMENTS[1], 2))), ["missing_summary"], 1, set(),
        ["rewrite"]),
    "a record that is none": (
        put("wal-4.v1.gz", logs.sealed(logs.plain(damage.SEGMENTS[1], 2).replace(
            logs.mint(damage.SEGMENTS[1][1]), logs.raw_frame(b'{"t":"M","lsn":5,"id":5,"vk":"Q"}\n')), 6)),
        ["invalid_record"], 1, {5}, ["rewrite"]),
}  # fmt: skip
