"""The reading rules of docs/format.md once more, by Python's own JSON parser, to compare the decoder with."""

from __future__ import annotations

import json
import re
import struct
from typing import Any, NoReturn

import crc32c as witness

from walcore.format import MAX_INT32, MAX_JSON_BYTES, MAX_LSN, MIN_INT32
from walcore.record import Record, ValueKind

_STRING = rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_INTEGER = rb"-?(?:0|[1-9][0-9]*)"
CANONICAL = re.compile(
    rb'\{"t":"M","lsn":%s,"id":%s,"vk":"[IBLN]","lex":%s,"dt":%s,"lang":%s,"hash":%s\}\n'
    % (_INTEGER, _INTEGER, _STRING, _STRING, _STRING, _INTEGER)
)
DEPTH = 500
"""Deeper than this, how deep a parser goes is its own business."""


class Refused(ValueError):
    """The line is no JSON object, or a record that the format has not."""


def _refuse(what: str) -> NoReturn:
    raise Refused(what)


def parse(line: bytes) -> dict[str, Any]:
    """The object of one frame's JSON; of a key that comes twice the last one counts."""
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from None
    return value if isinstance(value, dict) else _refuse("no object")


def _integer(fields: dict[str, Any], key: str, low: int, high: int, default: int | None = None) -> int:
    value = fields.get(key, default)
    return value if type(value) is int and low <= value <= high else _refuse(key)


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key, "")
    return value if isinstance(value, str) else _refuse(key)


def record(fields: dict[str, Any]) -> Record:
    """The record that the keys of a mint frame make."""
    kind = _text(fields, "vk")
    return Record(
        _integer(fields, "lsn", 1, MAX_LSN),
        _integer(fields, "id", MIN_INT32, MAX_INT32),
        ValueKind(kind) if kind in ("I", "B", "L", "N") else _refuse("vk"),
        _text(fields, "lex"),
        _text(fields, "dt"),
        _text(fields, "lang"),
        _integer(fields, "hash", MIN_INT32, MAX_INT32, 0),
    )


def mint(line: bytes) -> Record | None:
    """The record of a frame whose JSON is `line`; None if it is no mint frame."""
    fields = parse(line)
    return record(fields) if fields.get("t") == "M" else None


def canonical(line: bytes) -> Record | None:
    """The record of a line in canonical form; None if it has another form, or is out of range."""
    if not CANONICAL.fullmatch(line):
        return None
    try:
        return mint(line)
    except Refused:
        return None


def whole(data: bytes, at: int) -> bytes | None:
    """The JSON of the whole frame at `at` whose checksum holds, None if there is none."""
    size = int.from_bytes(data[at : at + 4], "little") if len(data) - at >= 4 else 0
    if not 0 < size <= MAX_JSON_BYTES or len(data) - at < size + 8:
        return None
    line = data[at + 4 : at + 4 + size]
    return line if struct.unpack_from("<I", data, at + 4 + size)[0] == witness.crc32c(line) else None


def first_frame(data: bytes, start: int) -> int:
    """Where a whole frame could begin, from `start` on; -1 if nowhere."""
    for at in range(start, len(data) - 5):
        size = int.from_bytes(data[at : at + 4], "little")
        if 2 < size <= MAX_JSON_BYTES and data[at + 4] == 0x7B and data[at + 5] in b'" \t\r\n':
            return at
    return -1


def depth(line: bytes) -> int:
    """How deep `line` nests at most, strings not looked at."""
    deep = most = 0
    for byte in line:
        deep += (byte in b"[{") - (byte in b"]}")
        most = max(most, deep)
    return most
