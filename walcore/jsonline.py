"""One frame's JSON, whatever its form, to a dict: ujson does the work, what it lets pass is refused here.

The compiled decoder takes mint frames in canonical form; this is for all else: headers, summaries, frames of unknown
types, and records that another program wrote with other spacing or another order of keys.
"""

from __future__ import annotations

import re
from typing import Any, Final

import ujson

# ujson lets pass: raw control bytes in strings, NaN and Infinity, `01`, `-` and `1.` as numbers, surrogates in UTF-8.
# It does check structure, escapes and depth (1024).  Possessive, so that a long line costs neither stack nor time.
_STRING: Final = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
_NUMBER: Final = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?(?![0-9A-Za-z.+-])"
_TOKENS: Final = re.compile(rb"(?:[ \t\r\n{}\[\]:,]++|" + _STRING + rb"|" + _NUMBER + rb"|true|false|null)*+")

# Parsed values take up to thirty times the room of their text: a line that is one array of 100 million empty arrays
# must not take 10 GB.  Text in strings isn't limited by this.
_MAX_VALUES: Final = 100_000
_TOO_MANY: Final = re.compile(rb'(?:(?:[^",]++|' + _STRING + rb")*+,){%d}+" % (_MAX_VALUES + 1))
_SMALL: Final = 64 * 1024


def parse_line(line: bytes) -> dict[str, Any]:
    """Parse one frame's JSON, strictly (RFC 8259), to a dict; of a key that comes twice the last one counts.

    Lone surrogate escapes are kept as lone surrogates.  Nesting is limited to 1024 levels.

    Raises:
        ValueError: it isn't valid JSON in valid UTF-8, or not an object; the message says what is wrong.
    """
    match = _TOKENS.match(line)
    end = match.end() if match else 0
    if end != len(line):
        msg = f"no valid JSON at byte {end} of {len(line)}: {line[end : end + 20]!r}"
        raise ValueError(msg)
    if not line.isascii():
        line.decode("utf-8")  # strict: ujson takes surrogates for characters
    if len(line) > _SMALL and line.count(b",") > _MAX_VALUES and _TOO_MANY.match(line):
        msg = f"more than {_MAX_VALUES} values in one frame"
        raise ValueError(msg)
    value = ujson.loads(line)
    if not isinstance(value, dict):
        msg = f"not a JSON object but {type(value).__name__}"
        raise ValueError(msg)
    return value


def integer(fields: dict[str, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    """The plain integer in range under `name`; `default` if it is absent.

    Raises:
        ValueError: it is absent and has no default, is anything but an integer, or out of range.
    """
    value = fields.get(name, default)
    if type(value) is not int or not low <= value <= high:
        shown = repr(value)
        msg = f"{name} must be an integer from {low} to {high}, got {shown[:40]}"
        raise ValueError(msg)
    return value


def string(fields: dict[str, Any], name: str) -> str:
    """The string under `name`, "" if it is absent.

    Raises:
        ValueError: it is anything but a string.
    """
    value = fields.get(name, "")
    if not isinstance(value, str):
        msg = f"{name} must be a string, got {type(value).__name__}"
        raise ValueError(msg)
    return value
