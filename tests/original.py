"""How RDF4J reads a log, as its documents and its code have it, in Python as plain as it can be."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import crc32c

NAME = re.compile(r"wal-[0-9]+\.v1(\.gz)?")
MAX_FRAME = 512 * 1024 * 1024
FIELDS = ("lsn", "id", "vk", "lex", "dt", "lang", "hash")


def read(directory: Path) -> tuple[list[tuple[Any, ...]], str | None]:
    """The records that RDF4J reads, and why it stops early or calls the log incomplete; None if it does neither.

    Where a number is missing it calls it incomplete and reads on; here that is the end.
    """
    found: list[tuple[Any, ...]] = []
    segments = sorted(
        (number(content), path.name, content, why)
        for path in directory.iterdir()
        if NAME.fullmatch(path.name)
        for content, why in [unpack(path)]
    )
    for expected, (actual, name, content, why) in enumerate(segments, 1):
        stop = read_segment(content, found, sealed=name.endswith(".gz")) or why
        if stop:
            return found, f"{name}: {stop}"
        if actual != expected:
            return found, f"{name} has number {actual} and should have {expected}"
    return found, None


def unpack(path: Path) -> tuple[bytes, str | None]:
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data, None if data else "empty"
    inflate, content = zlib.decompressobj(31), b""
    try:
        for at in range(0, len(data), 64):
            content += inflate.decompress(data[at : at + 64])
    except zlib.error as error:
        return content, str(error)
    return content, None if inflate.eof and not inflate.unused_data else "gzip cut off, or more behind it"


def number(content: bytes) -> int:
    """The segment number, 0 without a readable header."""
    fields = frame_at(content, 0)
    return fields[1].get("segment", 0) if fields else 0


def frame_at(content: bytes, at: int) -> tuple[int, dict[str, Any]] | None:
    """The end and the fields of the frame at `at`; None if none is there."""
    if len(content) < at + 4:
        return None
    (length,) = struct.unpack_from("<i", content, at)
    line, end = content[at + 4 : at + 4 + length], at + 8 + length
    if not 0 < length <= MAX_FRAME or len(content) < end:
        return None
    if crc32c.crc32c(line) != struct.unpack_from("<I", content, end - 4)[0]:
        return None
    return end, json.loads(line)


def read_segment(content: bytes, found: list[tuple[Any, ...]], *, sealed: bool) -> str | None:
    at, summary = 0, None
    while at < len(content):
        frame = frame_at(content, at)
        if frame is None:
            return f"no frame at byte {at}"
        end, fields = frame
        if fields["t"] == "M":
            if fields["vk"] not in "IBLN":
                return f"no record at byte {at}"
            found.append(tuple(fields[key] for key in FIELDS))
        if fields["t"] == "S":
            summary = fields["crc32"] == zlib.crc32(content[:at])
        at = end
    return "no summary, or a wrong one" if sealed and not summary else None
