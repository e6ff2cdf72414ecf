"""What is fuzzed of the compiled core: for each target a function that takes bytes and fails at a finding.

Plain Python; for the fuzzer it is compiled, so that a million inputs take seconds.
"""

from __future__ import annotations

from array import array
from typing import Any

import judges
import oracle

from walcore._core.decode import BAD_CRC, BAD_LENGTH, MORE, OTHER, Decoder, find_frame
from walcore._core.encode import crc32c, mint_frame
from walcore.errors import InvalidRecordError
from walcore.frames import _record
from walcore.jsonline import parse_line
from walcore.record import Record, ValueKind

KINDS = tuple(ValueKind)
LETTERS = ("I", "B", "L", "N")
every = 1
"""One input of so many, chosen by its checksum, goes to the slow witnesses."""


def chosen(data: Any) -> bool:
    return every == 1 or crc32c(data) % every == 0


def frame(line: bytes) -> bytes:
    return len(line).to_bytes(4, "little") + line + crc32c(line).to_bytes(4, "little")


def scan(data: Any, start: int, stop: int, decoder: Decoder, out: list[Record]) -> list[tuple[int, int]]:
    """Decode all of data[start:stop], going on behind damage; return each status with its place."""
    met: list[tuple[int, int]] = []
    at = start
    while at >= 0:
        status = decoder.decode(data, at, stop, out)
        at = decoder.position
        met.append((status, at))
        if status == MORE:
            break
        if status == OTHER:
            decoder.skip()
            at = decoder.position
        else:
            at = find_frame(data, at + 1, stop)
            assert at < 0 or at > decoder.position
    return met


def told(decoder: Decoder) -> tuple[int, ...]:
    return (
        decoder.frames, decoder.first_lsn, decoder.last_lsn, decoder.min_lsn, decoder.max_lsn, decoder.highest_id
    )  # fmt: skip


def frames(data: Any) -> None:
    """The frame decoder.  The first byte: bit 0, the rest are lines that get their length and checksum; else raw."""
    if len(data) < 3:
        return
    flags, cut = data[0], data[1]
    content: Any = data[2:]
    if flags & 1:
        # An array has no byte behind its end, which a bytes object has.
        content = array("B", b"".join([frame(line + b"\n") for line in bytes(content).split(b"\n")]))
    size = len(content)
    decoder, records = Decoder(KINDS), []
    met = scan(content, 0, size, decoder, records)
    counter, none = Decoder(), []
    assert scan(content, 0, size, counter, none) == met
    assert told(counter) == told(decoder)
    assert not none
    if flags & 2:
        in_two_windows(content, cut * size // 256, size, records)
    if records:
        wanted = records[cut % len(records)].id
        one, some = Decoder(KINDS, wanted), []
        scan(content, 0, size, one, some)
        assert some == [record for record in records if record.id == wanted]
        again(records)
    if chosen(data):
        by_the_rules(bytes(content), met, records)


def in_two_windows(content: Any, cut: int, size: int, records: list[Record]) -> None:
    """The same whether a window ends at `cut` or not, up to the first damage."""
    decoder, out = Decoder(KINDS), []
    status = decoder.decode(content, 0, cut, out)
    if status == MORE:
        decoder.decode(content, decoder.position, size, out)
    assert out == records[: len(out)]


def again(records: list[Record]) -> None:
    """decode(encode(x)) == x, for what a writer takes."""
    sound = [one for one in records if one.kind == "L" or not (one.datatype or one.language)]
    lines = [
        mint_frame(one.lsn, one.id, one.kind, one.lexical, one.datatype, one.language, one.hash) for one in sound
    ]  # fmt: skip
    data, out = b"".join(lines), []
    assert Decoder(KINDS).decode(data, 0, len(data), out) == MORE
    assert out == sound


def by_the_rules(data: bytes, met: list[tuple[int, int]], records: list[Record]) -> None:
    """What the slow witness says of the same bytes."""
    at, found, stops = 0, [], {place: status for status, place in met}
    while at >= 0:
        line = judges.whole(data, at)
        record = judges.canonical(line) if line else None
        if line is None:
            assert stops.pop(at, None) in (MORE, BAD_LENGTH, BAD_CRC), at
            rest = len(data) - at
            if rest < 4 or (
                0 < int.from_bytes(data[at : at + 4], "little") <= judges.MAX_JSON_BYTES
                and rest < 8 + int.from_bytes(data[at : at + 4], "little")
            ):
                break
            at = judges.first_frame(data, at + 1)
            continue
        if record is None:
            assert stops.pop(at, None) == OTHER, line
        else:
            assert at not in stops, line
            found.append(record)
        at += len(line) + 8
    assert found == records
    assert not stops


def paired(string: str) -> str:
    """What the format makes of it: two surrogates side by side are one character, as they are in UTF-16."""
    return string.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def text(data: Any) -> None:
    """The encoder: any strings and numbers become the bytes that the oracle makes, and come back."""
    if len(data) < 20:
        return
    raw = bytes(data)
    kind, unit = LETTERS[raw[0] & 3], raw[0] >> 2 & 3
    lsn = int.from_bytes(raw[1:9], "little", signed=True)
    id = int.from_bytes(raw[9:13], "little", signed=True)
    hash = int.from_bytes(raw[13:17], "little", signed=True)
    rest = raw[19:]
    if unit == 0:
        string = rest.decode("latin-1")
    elif unit == 1:
        string = rest.decode("utf-8", "replace")
    elif unit == 2:
        string = rest[: len(rest) & -2].decode("utf-16-le", "surrogatepass")
    else:
        string = "".join([chr(int.from_bytes(rest[i : i + 3], "little") % 0x110000) for i in range(0, len(rest), 3)])
    first = raw[17] * len(string) // 255
    second = first + raw[18] * (len(string) - first) // 255
    lexical, datatype, language = string[:first], string[first:second], string[second:]
    try:
        made = mint_frame(lsn, id, kind, lexical, datatype, language, hash)
    except InvalidRecordError:
        assert kind != "L"
        assert datatype or language
        return
    out: list[Record] = []
    decoder = Decoder(KINDS)
    status = decoder.decode(array("B", made), 0, len(made), out)
    if lsn < 1:
        assert status == OTHER
    else:
        assert status == MORE
        assert out == [Record(lsn, id, kind, paired(lexical), paired(datatype), paired(language), hash)]
    if chosen(data):
        assert made == oracle.mint_frame(lsn, id, kind, lexical, datatype, language, hash)


def line(data: Any) -> None:
    """One frame's JSON, in whatever form: the compiled decoder and ujson together read what the rules say."""
    content = bytes(data)
    if not content:
        return
    made = array("B", frame(content))
    decoder, out = Decoder(KINDS), []
    status = decoder.decode(made, 0, len(made), out)
    assert status in (MORE, OTHER)
    if status == OTHER and judges.depth(content) > judges.DEPTH:
        return
    try:
        expected: Any = judges.mint(content)
    except judges.Refused:
        expected = ValueError
    if status == MORE:
        assert out == [expected]
        return
    try:
        fields = parse_line(content)
        found: Any = _record(fields) if fields.get("t") == "M" else None
    except ValueError:
        found = ValueError
    assert found == expected, content


TARGETS = {"frames": frames, "text": text, "line": line}
