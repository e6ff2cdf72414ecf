"""Small logs on disk, made by the oracle, for tests of reading."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import crc32c
import oracle

from walcore.record import Record, ValueKind

STORE = "11111111-2222-3333-4444-555555555555"
LEXICALS = ("http://example.org/a", "plain", "Zürich ☃", "\U0001f600 é", '"quoted"\\\n\x00\x1f', "\ud800 alone", "")


def record(lsn: int, id: int | None = None, lexical: str | None = None) -> Record:
    """A literal with its LSN as id and one of LEXICALS, unless told otherwise."""
    text = LEXICALS[lsn % len(LEXICALS)] if lexical is None else lexical
    return Record(lsn, lsn if id is None else id, ValueKind.LITERAL, text, "http://example.org/type", "", lsn * 7)


def mint(one: Record) -> bytes:
    return oracle.mint_frame(one.lsn, one.id, one.kind, one.lexical, one.datatype, one.language, one.hash)


def raw_frame(line: bytes) -> bytes:
    """A frame around any bytes at all."""
    return struct.pack("<I", len(line)) + line + struct.pack("<I", crc32c.crc32c(line))


def plain(records: list[Record], number: int = 1, store: str = STORE) -> bytes:
    header = oracle.header_frame(store, 1700000000, number, records[0].id if records else 0)
    return header + b"".join(map(mint, records))


def sealed(content: bytes, last_id: int, level: int = 6) -> bytes:
    return gzip.compress(content + oracle.summary_frame(last_id, zlib.crc32(content)), level, mtime=0)


def write(directory: Path, name: str, content: bytes) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_bytes(content)
    return path


def log(directory: Path, *segments: list[Record], seal: bool = False) -> list[Record]:
    """Write one segment for each list, all sealed or none; return all records."""
    for number, records in enumerate(segments, 1):
        content, name = plain(records, number), f"wal-{records[0].id}.v1"
        while (directory / name).exists() or (directory / f"{name}.gz").exists():
            name = name.replace("wal-", "wal-0")
        if seal:
            write(directory, name + ".gz", sealed(content, max([0, *(one.id for one in records)])))
        else:
            write(directory, name, content)
    return [one for records in segments for one in records]


def as_row(one: Record) -> dict[str, Any]:
    """The record in the words of expected.json."""
    return {
        "lsn": one.lsn, "id": one.id, "vk": str(one.kind), "lex": one.lexical,
        "dt": one.datatype, "lang": one.language, "hash": one.hash,
    }  # fmt: skip
