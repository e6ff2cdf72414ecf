"""The compiled decoder: Records, canonical frames, and what it leaves to others."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import struct

import logs
import oracle
import original
import pytest

from walcore._core.decode import BAD_CRC, BAD_LENGTH, MORE, OTHER, Decoder, find_frame
from walcore._core.record import Record, index, same_value
from walcore.errors import InvalidRecordError
from walcore.format import MAX_JSON_BYTES
from walcore.record import ValueKind

KINDS = tuple(ValueKind)


def decode(data: bytes, wanted: int | None = None) -> tuple[int, list[Record], Decoder]:
    out: list[Record] = []
    decoder = Decoder(KINDS, wanted)
    return decoder.decode(data, 0, len(data), out), out, decoder


def line(lexical: bytes) -> bytes:
    return b'{"t":"M","lsn":1,"id":2,"vk":"L","lex":"' + lexical + b'","dt":"","lang":"","hash":0}\n'


def test_no_frame_is_longer_than_rdf4j_takes() -> None:
    assert MAX_JSON_BYTES == original.MAX_FRAME
    assert decode(struct.pack("<I", original.MAX_FRAME) + b'{"t":"M"')[0] == MORE
    assert decode(struct.pack("<I", original.MAX_FRAME + 1) + b'{"t":"M"')[0] == BAD_LENGTH


def test_a_record_shows_what_it_is_made_of() -> None:
    one = Record(7, -2, ValueKind.LITERAL, "x", "d", "l", 9)
    fields = (one.lsn, one.id, one.kind, one.lexical, one.datatype, one.language, one.hash)
    assert fields == (7, -2, "L", "x", "d", "l", 9)
    assert repr(one) == "Record(lsn=7, id=-2, kind='L', lexical='x', datatype='d', language='l', hash=9)"
    assert eval(repr(one)) == one
    assert pickle.loads(pickle.dumps(one)) == copy.copy(one) == one
    assert hash(one) == hash(Record(7, -2, "L", "x", "d", "l", 9))
    assert one != Record(7, -2, "L", "x", "d", "l", 8)
    assert one != "x"
    match one:
        case Record(lsn, id, ValueKind.LITERAL, lexical):
            assert (lsn, id, lexical) == (7, -2, "x")
        case _:
            pytest.fail("__match_args__ doesn't match")


def test_a_record_cannot_be_changed() -> None:
    one = Record(1, 2, "I", "x")
    for field in Record.__match_args__:
        with pytest.raises(AttributeError):
            setattr(one, field, getattr(one, field))
        with pytest.raises(AttributeError):
            delattr(one, field)
    with pytest.raises(TypeError, match="can't be changed"):
        one.__init__(2, 2, "I", "y")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((2**63, 1, "I", "x"), InvalidRecordError),
        ((1, 2**31, "I", "x"), InvalidRecordError),
        ((1, 1, "I", "x", "", "", -(2**31) - 1), InvalidRecordError),
        ((1, 1, "X", "x"), InvalidRecordError),
        ((1, 1.0, "I", "x"), TypeError),
        ((True, 1, "I", "x"), TypeError),
        ((1, 1, "I", b"x"), TypeError),
        ((1, 1, 73, "x"), TypeError),
    ],
)
def test_a_record_refuses_what_the_format_cannot_hold(arguments: tuple[object, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        Record(*arguments)  # type: ignore[arg-type]


def test_a_subclass_of_str_becomes_a_str() -> None:
    class Term(str):
        pass

    assert type(Record(1, 1, "I", Term("x")).lexical) is str


def test_canonical_frames_become_records() -> None:
    records = [logs.record(lsn) for lsn in range(1, 20)]
    status, out, decoder = decode(b"".join(map(logs.mint, records)))
    assert (status, out) == (MORE, records)
    assert (decoder.frames, decoder.first_lsn, decoder.last_lsn, decoder.highest_id) == (19, 1, 19, 19)
    assert out[0].kind is ValueKind.LITERAL
    assert out[0].datatype is out[1].datatype


@pytest.mark.parametrize("lsn", [1, 2**63 - 1])
@pytest.mark.parametrize("number", [-(2**31), -1, 0, 2**31 - 1])
def test_numbers_reach_their_limits(lsn: int, number: int) -> None:
    data = oracle.mint_frame(lsn, number, "I", "x", hash=number)
    assert decode(data)[1] == [Record(lsn, number, "I", "x", hash=number)]


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (rb"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
        (rb"\u0041\u00e9\u20AC\u0000", "Aé€\x00"),
        (rb"\uD83D\uDE00", "\U0001f600"),
        (rb"\ud83d\ude00x", "\U0001f600x"),
        (rb"\uD83D", "\ud83d"),
        (rb"\uDE00\uD83D", "\ude00\ud83d"),
        (rb"\uD83D\uD83D\uDE00", "\ud83d\U0001f600"),
        (rb"\uD83D\u0041", "\ud83dA"),
        (rb"\uD83D\n", "\ud83d\n"),
        (rb"\uD83D\uDBFF\uD83D\uE000", "\ud83d\udbff\ud83d\ue000"),
        (rb"\uD800\uDC00\uDBFF\uDFFF", "\U00010000\U0010ffff"),
        ("\U0001f600é\u2028\x7f\ufeff\uffff".encode(), "\U0001f600é\u2028\x7f\ufeff\uffff"),
        ("é".encode() + rb"\u00e9", "éé"),
    ],
)
def test_every_escape_of_json_is_read(escaped: bytes, text: str) -> None:
    for pad in range(9):
        assert [one.lexical for one in decode(logs.raw_frame(line(b"a" * pad + escaped)))[1]] == ["a" * pad + text]


@pytest.mark.parametrize(
    "bad",
    [
        b"\x00", b"\x1f", b"\n", rb"\x41", rb"\u12", rb"\u12G4", b"\\", b"\x80", b"\xc0\x80", b"\xc3", b"\xed\xa0\x80",
        b"\xed\xb0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff",
        b"\xe2\x82", b"\xf0\x9f\x98",
    ],
)  # fmt: skip
def test_a_string_that_is_not_valid_is_left_to_the_parser(bad: bytes) -> None:
    for pad in range(9):
        assert decode(logs.raw_frame(line(b"a" * pad + bad + b"z" * pad)))[:2] == (OTHER, [])


@pytest.mark.parametrize(
    "text",
    [
        b'{"t":"M","lsn":01,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":0,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":-5,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":9223372036854775808,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":18446744073709551617,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":1,"id":2147483648,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":1,"id":-2147483649,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":1,"id":2.0,"vk":"L","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":1,"id":2,"vk":"X","lex":"","dt":"","lang":"","hash":0}\n',
        b'{"t":"M","lsn":1,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":-}\n',
        b'{"t":"M","lsn":1,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":0} \n',
        b'{"t":"M","lsn":1,"id":2,"vk":"L","lex":"","dt":"","lang":"","hash":0}',
        b'{"t":"M","lsn":1}\n',
        b'{"t":"M","lsn":',
        b"{",
    ],
)
def test_what_is_not_canonical_is_left_to_the_parser(text: bytes) -> None:
    status, out, decoder = decode(logs.raw_frame(text))
    assert (status, out, decoder.position, decoder.frames) == (OTHER, [], 0, 0)
    assert decoder.frame_size == len(text) + 8


def test_every_cut_of_a_frame_asks_for_more() -> None:
    data = logs.mint(logs.record(1))
    for size in range(len(data)):
        assert decode(data[:size])[:2] == (MORE, [])


def test_every_flip_in_a_frame_is_seen() -> None:
    data = logs.mint(logs.record(1))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        status, out, _ = decode(bytes(damaged))
        assert out == []
        assert status in (BAD_CRC, BAD_LENGTH, MORE), bit


@pytest.mark.parametrize("size", [0, 512 * 2**20 + 1, 2**31, 2**32 - 1])
def test_a_length_outside_the_limit_is_no_frame(size: int) -> None:
    assert decode(struct.pack("<I", size) + b"{" * 50)[0] == BAD_LENGTH


def test_only_the_wanted_records_are_made_but_all_are_counted() -> None:
    records = [logs.record(lsn, id=lsn % 3) for lsn in range(1, 10)]
    _, out, decoder = decode(b"".join(map(logs.mint, records)), wanted=2)
    assert out == [one for one in records if one.id == 2]
    assert (decoder.frames, decoder.last_lsn) == (9, 9)
    counting = Decoder()
    assert counting.decode(logs.mint(records[0]), 0, len(logs.mint(records[0])), out) == MORE
    assert (counting.frames, len(out)) == (1, 3)


def test_the_range_to_decode_must_lie_in_the_buffer() -> None:
    for start, stop in ((-1, 2), (0, 4), (3, 2)):
        with pytest.raises(ValueError, match="must lie within"):
            Decoder().decode(b"abc", start, stop, [])
        with pytest.raises(ValueError, match="must lie within"):
            find_frame(b"abc", start, stop)


@pytest.mark.parametrize(
    "special", ['\\"', "\\\\", "\\u00e9", "\\n", "é", "€", "\U0001f600", "\x7f", " ", "\x1f", "\\x", "\\u12"]
)
@pytest.mark.parametrize("neighbour", ["", "#", "]", "!", " ", "[", "\x7f", "é"])
def test_a_string_is_measured_right_wherever_its_special_characters_lie(special: str, neighbour: str) -> None:
    for before, after in itertools.product(range(19), range(10)):
        text = "a" * before + special + neighbour + "b" * after
        line = f'{{"t":"M","lsn":1,"id":1,"vk":"I","lex":"{text}","dt":"","lang":"","hash":0}}\n'.encode()
        decoder, out = Decoder(tuple(ValueKind)), []  # type: ignore[var-annotated]
        status = decoder.decode(frame := logs.raw_frame(line), 0, len(frame), out)
        try:
            expected = json.loads(line)["lex"]
        except ValueError:
            assert (status, out) == (OTHER, [])
        else:
            assert (status, [one.lexical for one in out]) == (MORE, [expected])


@pytest.mark.parametrize("wanted", [None, 3])
def test_more_frames_than_are_taken_apart_in_one_go(wanted: int | None) -> None:
    for number in (511, 512, 513, 1500):
        records = [logs.record(lsn, id=lsn % 7) for lsn in range(1, number + 1)]
        data = b"".join(map(logs.mint, records))
        decoder, out = Decoder(tuple(ValueKind), wanted), []  # type: ignore[var-annotated]
        assert decoder.decode(data, 0, len(data), out) == MORE
        assert out == [one for one in records if wanted in (None, one.id)]
        assert (decoder.position, decoder.frames, decoder.last_lsn) == (len(data), number, number)


def test_the_place_of_a_frame_is_found_in_garbage() -> None:
    frame = logs.mint(logs.record(1))
    for garbage in (b"", b"\x00" * 50, b'{"t":"M"' * 5, b"text {\n" * 9, bytes(range(256))):
        data = garbage + frame
        assert find_frame(data, 0, len(data)) == len(garbage)
    assert find_frame(b'{"t":"M","lsn":1}' * 20, 0, 340) == -1


def test_the_index_tells_of_an_id_of_this_turn_and_puts_those_of_earlier_ones_aside() -> None:
    one, two, three, four, five = (logs.record(lsn, id) for lsn, id in ((1, 5), (2, 6), (3, 5), (4, 6), (5, 6)))
    records: dict[int, Record] = {}
    before: dict[int, Record] = {}
    assert index(records, [one, two, three], 1, before) == [three]
    assert (records, before) == ({5: one, 6: two}, {})
    assert index(records, [four, five], 2, before) == [five]
    assert (records, before) == ({5: one, 6: four}, {6: two})


def test_the_same_value_is_that_of_kind_and_texts() -> None:
    one, three = logs.record(1, id=5), logs.record(3, id=5)
    assert same_value(one, Record(9, 9, one.kind, one.lexical, one.datatype, "", 1))
    assert not same_value(one, three)
