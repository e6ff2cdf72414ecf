"""Folders that nobody in good faith would leave behind, for tests of what walcore makes of them."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import crc32c
import oracle
from folders import STORE, mint, plain
from logs import raw_frame
from tally import LONG

MIB: Final = 1 << 20
TIMES: Final = 10 if LONG else 1
WIDE: Final = 8 * MIB
FRAME: Final = 512 * MIB
"""The largest JSON that the format allows."""


def repeated(fill: bytes, size: int, times: int) -> tuple[bytes, Callable[[int], int]]:
    """Gzip members that hold `size * times` bytes of `fill`, and how a CRC-32C goes on over them."""
    block = fill * (size // len(fill))

    def crc(start: int) -> int:
        for _ in range(times):
            start = crc32c.crc32c(block, start)
        return start

    return gzip.compress(block, 6, mtime=0) * times, crc


def huge_frame(begin: bytes, fill: bytes, end: bytes) -> bytes:
    """Gzip of one whole frame of 512 MiB: `begin`, then `fill` over and over, then `end`."""
    members, crc = repeated(fill, 32 * MIB, 15)
    rest = fill * ((32 * MIB - len(begin) - len(end)) // len(fill))
    json_size = len(begin) + 15 * 32 * MIB + len(rest) + len(end)
    total = crc32c.crc32c(rest + end, crc(crc32c.crc32c(begin)))
    return (
        gzip.compress(struct.pack("<I", json_size) + begin, mtime=0)
        + members
        + gzip.compress(rest + end + struct.pack("<I", total), mtime=0)
    )


def sparse(path: Path, size: int, begin: bytes = b"") -> None:
    """A file of `size` bytes, zeros that take no room behind `begin`."""
    with path.open("wb") as file:
        file.write(begin)
        file.truncate(size)


def checked_line(body: bytes) -> bytes:
    """What the small files of a log look like: JSON with its own checksum; `body` has no closing brace."""
    return b'%s,"crc32c":%d}\n' % (body, crc32c.crc32c(body))


# -- the folders ----------------------------------------------------------------------------------------------------


def lengths_that_lie(wal: Path) -> None:
    lies = b"".join(struct.pack("<I", size) + b'{"t":"M"' for size in (FRAME, FRAME - 1, 2**31, 2**32 - 1, 0))
    (wal / "wal-1.v1").write_bytes(plain(1, [1]) + lies + mint(2))
    sparse(wal / "wal-2.v1", FRAME + 100 * MIB, plain(2, [3]) + struct.pack("<I", FRAME) + b"{")
    sparse(wal / "wal-3.v1", 2 * FRAME, struct.pack("<I", 2 * FRAME) + b"{")


def gzip_bombs(wal: Path) -> None:
    zeros, _ = repeated(b"\0", 64 * MIB, 2 * TIMES)
    (wal / "wal-1.v1.gz").write_bytes(gzip.compress(plain(1, [1])) + zeros)
    begin = plain(2, [2]) + struct.pack("<I", FRAME) + b"{"
    (wal / "wal-2.v1.gz").write_bytes(gzip.compress(begin + bytes(200 * MIB), mtime=0))
    (wal / "wal-3.v1.gz").write_bytes(zeros)


def tiny_members(wal: Path) -> None:
    (wal / "wal-1.v1.gz").write_bytes(gzip.compress(plain(1, [1])) + gzip.compress(b"") * 50_000 * TIMES)


def deep_json(wal: Path) -> None:
    deep = b"[" * 1_000_000
    lines = (deep, b'{"t":"M","a":' + deep + b"}\n", b'{"a":' * 1_000_000 + b"\n")
    (wal / "wal-1.v1").write_bytes(raw_frame(deep) + b"".join(map(raw_frame, lines)))
    (wal / "wal-2.v1").write_bytes(plain(2, [2]) + b"".join(map(raw_frame, lines)) + mint(3))


def wide_json(wal: Path) -> None:
    """Lists of lists: parsed values take many times the room of their text."""
    wide = b'{"t":"X","a":[' + b"[]," * (WIDE // 3) + b"[]]}\n"
    (wal / "wal-1.v1").write_bytes(plain(1, [1]) + raw_frame(wide) + mint(2))
    for name in ("walcore.state", "walcore.purge"):
        (wal / name).write_bytes(checked_line(wide.removesuffix(b"}\n")))


def long_strings(wal: Path) -> None:
    """A frame of another form than walcore's and RDF4J's."""
    frame = raw_frame(b'{"lsn":2,"t":"M","id":1,"vk":"I","lex":"%s"}\n' % (b"x" * WIDE))
    (wal / "wal-1.v1").write_bytes(plain(1, [1]) + frame + mint(3))


def huge_small_files(wal: Path) -> None:
    (wal / "wal-1.v1").write_bytes(plain(1, [1]))
    for name in ("walcore.state", "walcore.purge", "lock"):
        sparse(wal / name, 1 << 30, b'{"version":1')


def huge_header(wal: Path) -> None:
    begin = b'{"t":"V","ver":1,"store":"%s","engine":"valuestore","created":1,"segment":1,"firstId":1' % STORE.encode()
    (wal / "wal-1.v1.gz").write_bytes(huge_frame(begin, b" ", b"}\n"))


def countless_faults(wal: Path) -> None:
    """A frame of 18 bytes is a fault each; gzip makes them next to nothing."""
    faults = gzip.compress(raw_frame(b'{"t":"M"}\n') * 100_000, mtime=0)
    (wal / "wal-1.v1.gz").write_bytes(gzip.compress(plain(1, [1])) + faults * TIMES)


def one_id(wal: Path) -> None:
    frames = b"".join(oracle.mint_frame(lsn, 7, "I", "urn:7", "", "", 0) for lsn in range(2, 50_000))
    (wal / "wal-1.v1.gz").write_bytes(gzip.compress(plain(1, [1])) + gzip.compress(frames, mtime=0) * 4 * TIMES)


def many_names(wal: Path, names: Iterable[str]) -> None:
    (wal / "wal-1.v1").write_bytes(plain(1, [1]))
    for name in names:
        (wal / name).touch()


def names_of_any_kind(wal: Path) -> None:
    many_names(wal, (f"{'x' * 200}{number}" for number in range(100_000 * TIMES)))


def temporaries(wal: Path) -> None:
    many_names(wal, (f"{'x' * 200}{number}.walcore-tmp" for number in range(100_000 * TIMES)))


def gaps(wal: Path) -> None:
    for number in range(2, 400 * TIMES, 2):
        (wal / f"wal-{number}.v1").write_bytes(plain(number, [number]))


def many_segments(wal: Path) -> None:
    for number in range(1, 1_000 * TIMES + 1):
        content = plain(number, [number])
        (wal / f"wal-{number}.v1.gz").write_bytes(
            gzip.compress(content + oracle.summary_frame(number, zlib.crc32(content)), 1, mtime=0)
        )


FOLDERS: Final = (
    lengths_that_lie,
    gzip_bombs,
    tiny_members,
    deep_json,
    wide_json,
    long_strings,
    huge_small_files,
    huge_header,
    countless_faults,
    one_id,
    names_of_any_kind,
    temporaries,
    gaps,
    many_segments,
)
