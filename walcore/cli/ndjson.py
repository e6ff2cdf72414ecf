"""One record as one line: NDJSON both ways (`cat --json` writes what `load` reads), and text for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ujson

from walcore.cli.options import KINDS
from walcore.format import MAX_INT32, MIN_INT32
from walcore.jsonline import parse_line

if TYPE_CHECKING:
    from walcore.record import Record

SHOWN_CHARS: Final = 100
XSD_STRING: Final = "http://www.w3.org/2001/XMLSchema#string"
# In the order of log_mint's arguments.
STRINGS: Final = ("lexical", "datatype", "language")
ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# JSON's own escapes end at U+001F.
CONTROLS: Final = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def dumps(row: object) -> str:
    """JSON on one line, characters as they are, but for those that could control a terminal."""
    text = ujson.dumps(row, ensure_ascii=False, escape_forward_slashes=False)
    return text if text.isascii() and "\x7f" not in text else text.translate(CONTROLS)


def to_json(record: Record) -> str:
    """The record's fields by their names, in their order."""
    return dumps(row_of(record))


def row_of(record: Record) -> dict[str, Any]:
    """The same as a dictionary."""
    return {
        "lsn": record.lsn,
        "id": record.id,
        "kind": str(record.kind),
        "lexical": record.lexical,
        "datatype": record.datatype,
        "language": record.language,
        "hash": record.hash,
    }


def from_json(line: bytes) -> tuple[int | None, tuple[str, str, str, str], int]:
    """Id (None if the line has none), value (kind, lexical, datatype, language) and hash; other keys don't count.

    Raises:
        ValueError: not a record; the message says why.
    """
    row = parse_line(line)
    kind = KINDS.get(str(row.get("kind")).lower())
    if kind is None:
        msg = f"kind must be I, B, L or N, got {_shown(row.get('kind'))}"
        raise ValueError(msg)
    lexical, datatype, language = (_text(row, key, "" if key != "lexical" else None) for key in STRINGS)
    if kind != "L" and (datatype or language):
        msg = f"only a literal has a datatype or a language; kind is {kind}"
        raise ValueError(msg)
    id_ = None if row.get("id") is None else _int32(row, "id")
    return id_, (kind, lexical, datatype, language), _int32(row, "hash")


def _shown(value: object) -> str:
    """The value for a message, without a copy of what may be half a gigabyte."""
    if isinstance(value, str):
        return repr(value[:SHOWN_CHARS])
    return type(value).__name__ if isinstance(value, (list, dict)) else repr(value)[:SHOWN_CHARS]


def _text(row: dict[str, Any], key: str, default: str | None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        msg = f"{key} must be a string, got {_shown(value)}"
        raise ValueError(msg)
    return value


def _int32(row: dict[str, Any], key: str) -> int:
    value = row.get(key, 0)
    if type(value) is not int or not MIN_INT32 <= value <= MAX_INT32:
        msg = f"{key} must be an integer of 32 bits, got {_shown(value)}"
        raise ValueError(msg)
    return value


def to_text(record: Record) -> str:
    """LSN, id, kind and the value as N-Triples writes it; one line without control characters, whatever is in it."""
    return f"{record.lsn:>10} {record.id:>11}  {record.kind}  {value_text(record)}"


def value_text(record: Record) -> str:
    """The value as N-Triples writes it; a namespace looks like an IRI."""
    lexical = _visible(record.lexical)
    if record.kind == "B":
        return f"_:{lexical}"
    if record.kind != "L":
        return f"<{lexical}>"
    if record.language:
        return f'"{lexical}"@{_visible(record.language)}'
    if record.datatype in ("", XSD_STRING):
        return f'"{lexical}"'
    return f'"{lexical}"^^<{_visible(record.datatype)}>'


def _visible(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(ESCAPES.get(char) or (char if char.isprintable() else _escape(ord(char))) for char in text)


def _escape(code: int) -> str:
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
