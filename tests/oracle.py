"""The format once more, in Python as plain as it can be: what the compiled encoder is compared with."""

from __future__ import annotations

import json
import struct
from typing import Any

import crc32c

SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def escape(character: str) -> str:
    """One character as Jackson writes it; surrogates stand for themselves."""
    code = ord(character)
    if character in SHORT:
        return SHORT[character]
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04X}\\u{0xDC00 + (code & 0x3FF):04X}"
    if code < 0x20 or 0xD800 <= code <= 0xDFFF:
        return f"\\u{code:04X}"
    return character


def quote(text: str) -> str:
    return '"' + "".join(map(escape, text)) + '"'


def frame(line: str) -> bytes:
    """The JSON, without its newline, as it lies on disk."""
    data = line.encode() + b"\n"
    return struct.pack("<I", len(data)) + data + struct.pack("<I", crc32c.crc32c(data))


def header_frame(store: str, created: int, number: int, first_id: int) -> bytes:
    return frame(
        f'{{"t":"V","ver":1,"store":{quote(store)},"engine":"valuestore","created":{created},'
        f'"segment":{number},"firstId":{first_id}}}'
    )


def mint_frame(
    lsn: int, id: int, kind: str, lexical: str, datatype: str = "", language: str = "", hash: int = 0
) -> bytes:
    return frame(
        f'{{"t":"M","lsn":{lsn},"id":{id},"vk":"{kind}","lex":{quote(lexical)},"dt":{quote(datatype)},'
        f'"lang":{quote(language)},"hash":{hash}}}'
    )


def summary_frame(last_id: int, crc32: int) -> bytes:
    return frame(f'{{"t":"S","lastId":{last_id},"crc32":{crc32}}}')


def frames(plain: bytes) -> list[bytes]:
    """A sound segment's plain bytes, cut into its frames."""
    found, at = [], 0
    while at < len(plain):
        (length,) = struct.unpack_from("<I", plain, at)
        whole = plain[at : at + length + 8]
        assert whole == frame(whole[4:-5].decode("utf-8", "surrogatepass")), f"no whole frame at {at}"
        found.append(whole)
        at += len(whole)
    return found


def parse(whole: bytes) -> dict[str, Any]:
    """A frame's JSON as a dict; pairs of escaped surrogates come back as the one character that they are."""
    return json.loads(whole[4:-4])  # type: ignore[no-any-return]
