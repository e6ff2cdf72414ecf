"""Frames of one segment: other forms of JSON, tear or corruption, and what makes a sealed one whole."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import logs
import oracle
import pytest
from one_segment import BODY, END, NEXT, RECORDS, check, kinds, read, segment

from walcore import frames, sources, system
from walcore.errors import WalError
from walcore.faults import FaultKind
from walcore.frames import FrameReader, SegmentCheck, check_segment
from walcore.record import Record
from walcore.segments import list_segments

X = Record(7, 3, "L", "x", "d", "l", 5)


@pytest.mark.parametrize(
    "line",
    [
        b'{"hash":5,"lang":"l","dt":"d","lex":"x","vk":"L","id":3,"lsn":7,"t":"M"}\n',
        b' { "t" : "M" , "lsn" : 7,\t"id":3,\r\n"vk":"L","lex":"x","dt":"d","lang":"l","hash":5 } \n',
        b'{"t":"M","lsn":7,"id":3,"vk":"L","lex":"\\u0078","dt":"d","lang":"l","hash":5,"new":[{"a":[1.5e3,null,true]}]}\n',
        b'{"t":"M","lsn":1,"lsn":7,"id":3,"vk":"L","lex":"y","dt":"d","lang":"l","hash":5,"lex":"x"}\n',
        b'{"\\u0074":"M","lsn":7,"id":3,"vk":"L","lex":"x","dt":"d","lang":"l","hash":5}',
    ],
)
def test_any_valid_form_of_json_is_read(tmp_path: Path, line: bytes) -> None:
    assert read(tmp_path, logs.plain(RECORDS) + logs.raw_frame(line)) == ([*RECORDS, X], [])


def test_absent_strings_are_empty_and_lone_surrogates_stay(tmp_path: Path) -> None:
    line = b'{"t":"M", "lsn":9,"id":3,"vk":"I","lex":"\\ud800"}\n'
    assert read(tmp_path, logs.plain([]) + logs.raw_frame(line)) == ([Record(9, 3, "I", "\ud800")], [])
    line = b'{"t":"M","lsn":9,"id":3,"vk":"I"}\n'
    assert read(tmp_path, logs.plain([]) + logs.raw_frame(line)) == ([Record(9, 3, "I", "")], [])


@pytest.mark.parametrize(
    "line", [b'{"t":"Z","x":1}\n', b'{"x":1}\n', b'{"t":5}\n', b"{}\n", b'{"t":"S","lastId":1,"crc32":1}\n']
)
def test_frames_of_unknown_type_are_passed_over(tmp_path: Path, line: bytes) -> None:
    content = logs.plain(RECORDS) + logs.raw_frame(line) + logs.mint(X)
    assert read(tmp_path, content) == ([*RECORDS, X], [])


MINT = b'{"t":"M","lsn":7,"id":3,"vk":"L","lex":"x","dt":"d","lang":"l","hash":5}\n'
INVALID = {
    "raw control byte": MINT.replace(b'"x"', b'"x\x01"'),
    "raw newline": MINT.replace(b'"x"', b'"x\n"'),
    "NaN": MINT.replace(b"5}", b"NaN}"),
    "Infinity": MINT.replace(b"5}", b"-Infinity}"),
    "float": MINT.replace(b"5}", b"5.0}"),
    "exponent": MINT.replace(b"5}", b"5e0}"),
    "leading zero": MINT.replace(b"5}", b"05}"),
    "bare minus": MINT.replace(b"5}", b"-}"),
    "open fraction": MINT.replace(b"5}", b"5.}"),
    "plus": MINT.replace(b"5}", b"+5}"),
    "bool": MINT.replace(b"5}", b"true}"),
    "number as string": MINT.replace(b"5}", b'"5"}'),
    "hash out of range": MINT.replace(b"5}", b"2147483648}"),
    "number of 5000 digits": MINT.replace(b"5}", b"9" * 5000 + b"}"),
    "lsn out of range": MINT.replace(b":7,", b":9223372036854775808,"),
    "lsn of 0": MINT.replace(b":7,", b":0,"),
    "no lsn": MINT.replace(b'"lsn":7,', b""),
    "no id": MINT.replace(b'"id":3,', b""),
    "no kind": MINT.replace(b'"vk":"L",', b""),
    "unknown kind": MINT.replace(b'"L"', b'"Q"'),
    "null string": MINT.replace(b'"x"', b"null"),
    "surrogate in UTF-8": MINT.replace(b'"x"', b'"\xed\xa0\x80"'),
    "not UTF-8": MINT.replace(b'"x"', b'"\xff"'),
    "not UTF-8 in an unknown key": MINT.replace(b"5}", b'5,"z":"\xed\xa0\x80"}'),
    "trailing garbage": MINT + b"x",
    "second object": MINT + MINT,
    "trailing comma": MINT.replace(b"5}", b"5,}"),
    "no object": b"[]\n",
    "nothing": b"\n",
    "nested a million deep": MINT.replace(b"5}", b'5,"z":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
    "opened a million times": MINT.replace(b"5}", b'5,"z":' + b'{"a":' * 10**6),
    "a million values": MINT.replace(b"5}", b'5,"z":[' + b"[]," * 10**6 + b"[]]}"),
}


@pytest.mark.parametrize("name", INVALID)
def test_what_is_no_record_is_reported_and_salvage_goes_on(tmp_path: Path, name: str) -> None:
    content = logs.plain(RECORDS)
    records, faults = read(tmp_path, content + logs.raw_frame(INVALID[name]) + logs.mint(logs.record(6)))
    assert records == [*RECORDS, logs.record(6)]
    (fault,) = faults
    assert (str(fault.kind), fault.offset, fault.lsn_before) == ("invalid_record", len(content), 5)
    assert len(fault.detail) < 300


TO_SECTOR = 512 - END % 512
TAILS: dict[str, tuple[bytes, bool]] = {
    "half a length": (b"\x50\x00", True),
    "half a frame": (NEXT[:-7], True),
    "zeros": (bytes(4096), True),
    "random bytes": (bytes(range(255, 0, -1)), True),
    "a length of 2 GiB": (struct.pack("<I", 2**31) + b"{", True),
    "text to the end": (b"hello", True),
    "a flipped bit before a whole frame": (NEXT.replace(b'"vk"', b'"vK"') + NEXT, False),
    "garbage before a whole frame": (b"hello" + NEXT, False),
    "a run of 8 zeros before a whole frame": (b"hello" + bytes(8) + b"more" + NEXT, True),
    "a run of 7 zeros before a whole frame": (b"hello" + bytes(7) + b"more" + NEXT, False),
    "zeros up to a sector, then garbage and a whole frame": (bytes(TO_SECTOR) + b"x" + NEXT, True),
    "a page of zeros inside a frame": (NEXT[:30] + bytes(512) + NEXT[70:] + NEXT, True),
    "a length that claims all the rest, and a whole frame": (struct.pack("<I", 60) + NEXT[4:] + NEXT, False),
}


@pytest.mark.parametrize("name", TAILS)
def test_a_tear_is_told_from_corruption(tmp_path: Path, name: str) -> None:
    tail, torn = TAILS[name]
    found = check(tmp_path, BODY + tail)
    assert (found.tear, found.end, found.last_lsn) == (torn, END, 5)
    assert kinds(found.faults) == ["torn_tail" if torn else "corrupt_frame"]
    assert found.faults[0].offset == END
    assert found.max_lsn == (6 if NEXT in tail else 5)
    # The same bytes, but a state file calls them on disk.
    vouched = check(tmp_path, BODY + tail, vouched=END + len(tail))
    assert (vouched.tear, kinds(vouched.faults)) == (False, ["corrupt_frame"])
    # On disk was what lies before them.
    assert check(tmp_path, BODY + tail, vouched=END).tear == torn


def test_short_zeros_up_to_a_sector_are_a_tear(tmp_path: Path) -> None:
    for size in range(1, 8):
        lexical = "x" * ((-END - size - len(logs.mint(logs.record(6, lexical="")))) % 512)
        body = BODY + logs.mint(logs.record(6, lexical=lexical))
        assert (len(body) + size) % 512 == 0
        frame = logs.mint(logs.record(7))
        assert check(tmp_path, body + bytes(size) + b"rest" + frame).tear
        assert not check(tmp_path, body + bytes(size - 1) + b"1rest" + frame).tear


def test_what_has_no_header_is_sound_up_to_its_start(tmp_path: Path) -> None:
    for data in (b"", b"\x01", b"hello"):
        assert check(tmp_path, data).end == 0


def test_a_check_of_a_sound_segment_tells_all_about_it(tmp_path: Path) -> None:
    found = check(tmp_path, BODY)
    assert found == SegmentCheck(6, END, END, 1, 5, 1, 5, 5, None, False, (), False)
    sealed = check(tmp_path / "sealed", logs.sealed(BODY, 5), seal=True)
    crc32 = zlib.crc32(BODY)
    assert (sealed.frames, sealed.summary, sealed.faults) == (7, (5, crc32), ())


def test_records_behind_damage_are_salvaged(tmp_path: Path) -> None:
    frames = list(map(logs.mint, RECORDS))
    content = logs.plain([]) + frames[0] + b"garbage" + frames[1] + frames[2][:-1] + frames[3] + b"{" + frames[4]
    records, faults = read(tmp_path, content)
    assert records == [RECORDS[i] for i in (0, 1, 3, 4)]
    assert kinds(faults) == ["corrupt_frame"] * 3
    records, faults = read(tmp_path / "sealed", logs.sealed(content, 5), seal=True)
    assert records == [RECORDS[i] for i in (0, 1, 3, 4)]
    assert kinds(faults) == ["corrupt_frame"] * 3


SEALED: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "sound": (lambda: logs.sealed(BODY, 5), []),
    "two members": (lambda: gzip.compress(BODY) + gzip.compress(oracle.summary_frame(5, zlib.crc32(BODY))), []),
    "padded with zeros": (lambda: logs.sealed(BODY, 5) + bytes(300_000), []),
    "garbage behind": (lambda: logs.sealed(BODY, 5) + b"garbage", ["corrupt_frame"]),
    "no summary": (lambda: gzip.compress(BODY), ["missing_summary"]),
    "wrong crc32": (lambda: gzip.compress(BODY + oracle.summary_frame(5, 1)), ["summary_mismatch"]),
    "wrong lastId": (lambda: logs.sealed(BODY, 6), ["summary_mismatch"]),
    "frames behind": (
        lambda: gzip.compress(BODY + oracle.summary_frame(5, zlib.crc32(BODY)) + NEXT), ["summary_mismatch"]
    ),
    "a byte behind": (
        lambda: gzip.compress(BODY + oracle.summary_frame(5, zlib.crc32(BODY)) + b"x"),
        ["summary_mismatch", "corrupt_frame"],
    ),
    "a frame cut, the gzip whole": (lambda: gzip.compress(BODY[:-3]), ["corrupt_frame"]),
    "zeros behind the frames": (lambda: gzip.compress(BODY + bytes(100)), ["corrupt_frame"]),
    "gzip cut in its trailer": (lambda: logs.sealed(BODY, 5)[:-3], ["truncated_gzip"]),
    "gzip with a wrong checksum": (
        lambda: logs.sealed(BODY, 5)[:-8] + bytes(4) + logs.sealed(BODY, 5)[-4:], ["corrupt_frame"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("inflater", ["zlib", "isal"])
@pytest.mark.parametrize("name", SEALED)
def test_a_sealed_segment_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, inflater: str) -> None:
    if inflater == "zlib":
        monkeypatch.setattr(sources, "codec", lambda: zlib)
    else:
        pytest.importorskip("isal")
    content, faults = SEALED[name]
    records, met = read(tmp_path, content(), seal=True)
    assert kinds(met) == faults
    whole = RECORDS[:-1] if name.startswith("a frame cut") else RECORDS
    assert records[:5] == whole


def test_a_read_error_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, sealed = segment(tmp_path, BODY), segment(tmp_path / "sealed", logs.sealed(BODY, 5), seal=True)

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(system.calls, "preadv", fail)
    for bad in (one, sealed):
        with pytest.raises(OSError, match="Input/output error"):
            check_segment(bad)


def test_kinds_have_the_names_of_the_reports() -> None:
    assert {str(kind) for kind in FaultKind} == {
        "torn_tail", "corrupt_frame", "invalid_record", "missing_segment", "duplicate_segment", "empty_segment",
        "unreadable_segment", "missing_summary", "summary_mismatch", "truncated_gzip", "foreign_store",
    }  # fmt: skip


def test_data_is_not_called_damaged_when_the_witness_finds_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = logs.plain([logs.record(1), logs.record(2)])
    damaged = whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:]
    logs.write(tmp_path, "wal-1.v1", damaged)
    stored = int.from_bytes(damaged[-4:], "little")
    monkeypatch.setattr("crc32c.crc32c", lambda data: stored)
    with pytest.raises(WalError, match="own"):
        check_segment(list_segments(tmp_path)[0])
    monkeypatch.undo()
    assert [fault.kind for fault in check_segment(list_segments(tmp_path)[0]).faults] == [FaultKind.TORN_TAIL]


@pytest.mark.parametrize("seal", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize("lsns", [(3, 1, 2), (2, 3, 1), (1, 2, 3)])
def test_lsns_out_of_order_are_counted_for_what_they_are(tmp_path: Path, lsns: tuple[int, ...], seal: bool) -> None:
    logs.log(tmp_path, [logs.record(lsn) for lsn in lsns], seal=seal)
    check = check_segment(list_segments(tmp_path)[0])
    assert (check.first_lsn, check.last_lsn, check.min_lsn, check.max_lsn) == (lsns[0], lsns[-1], 1, 3)


def first_stop(directory: Path, content: bytes) -> FrameReader:
    """A reader of a segment at its first fault."""
    one = segment(directory, content)
    with one.path.open("rb") as file:
        reader = FrameReader(one, file.fileno(), one.size)
        assert list(reader.batches()) == []
    return reader


@pytest.mark.parametrize(
    ("tail", "unfinished"),
    [
        (NEXT[:-3], True),
        (NEXT[:2], True),
        (NEXT[:-1] + bytes([NEXT[-1] ^ 1]), False),
        (struct.pack("<I", 2**31) + b"{" * 100, False),
        (NEXT[:-3] + NEXT, False),
        (NEXT[:30] + NEXT, False),
    ],
    ids=["cut", "cut in its length", "a wrong checksum", "no length", "cut and another", "cut short and another"],
)
def test_a_last_frame_that_the_file_ends_in_is_unfinished_and_nothing_else_is(
    tmp_path: Path, tail: bytes, unfinished: bool
) -> None:
    """While a writer is at work that is no fault."""
    reader = first_stop(tmp_path, BODY + tail)
    assert reader.fault is not None
    assert reader.unfinished == unfinished


def test_no_more_faults_are_kept_than_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert frames.MAX_FAULTS == 10_000
    monkeypatch.setattr(frames, "MAX_FAULTS", 3)
    found = check(tmp_path, BODY + b"".join(b"garbage" + logs.mint(logs.record(lsn)) for lsn in range(6, 16)))
    assert (len(found.faults), found.max_lsn) == (3, 15)


def test_behind_damage_only_a_frame_that_ends_its_line_is_one(tmp_path: Path) -> None:
    """What looks like a frame inside of a value isn't: no JSON string has a line's end in it."""
    for end, found in ((b"\n", 1), (b"\t", 0), (b"\v", 0)):
        line = b'{"t":"M","lsn":6,"id":6,"vk":"I","lex":"","dt":"","lang":"","hash":0}' + end
        records, faults = read(tmp_path / str(end[0]), BODY + b"garbage" + logs.raw_frame(line))
        assert len(records) == 5 + found
        assert kinds(faults) == (["corrupt_frame"] if found else ["torn_tail"])


def test_the_witness_is_asked_about_the_bytes_of_the_frame_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies behind it."""
    damaged = bytearray(NEXT)
    damaged[-10] ^= 1
    asked: list[bytes] = []

    def witness(data: bytes) -> int:
        asked.append(data)
        return int.from_bytes(NEXT[-4:], "little")

    monkeypatch.setattr("crc32c.crc32c", witness)
    with pytest.raises(WalError, match=f"at byte {END}: .* own"):
        check(tmp_path, BODY + bytes(damaged) + NEXT * 1000)
    assert asked == [bytes(damaged[4:-4])]


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 15, 100])
@pytest.mark.parametrize(("zeros", "found"), [(7, False), (8, True), (9, True)])
def test_zeros_in_a_row_are_seen_however_the_bytes_come(size: int, zeros: int, found: bool) -> None:
    for before in range(20):
        content = b"x" * (before + 1) + bytes(zeros) + b"y" * 20
        looked = frames._Zeros(512)
        for at in range(0, len(content), size):
            looked.see(content[at : at + size])
        assert looked.found() == found


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("left", [0, 1, 4, 7])
def test_zeros_up_to_a_sectors_end_are_seen_however_the_bytes_come(size: int, left: int) -> None:
    for spoiled in (None, 0, left - 1):
        content = bytearray(left) + b"x" * 20
        if spoiled is not None and left:
            content[spoiled] = 1
        looked = frames._Zeros(1024 - left)
        for at in range(0, len(content), size):
            looked.see(content[at : at + size])
        assert looked.found() == (left > 0 and spoiled is None)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_a_frame_is_found_however_few_bytes_lie_before_it(tmp_path: Path, size: int) -> None:
    records, faults = read(tmp_path, BODY + b"x" * size + NEXT + b"y" * size + logs.mint(logs.record(7)))
    assert [one.lsn for one in records] == [1, 2, 3, 4, 5, 6, 7]
    assert [fault.offset for fault in faults] == [END, END + size + len(NEXT)]


def test_a_frame_that_begins_at_the_end_of_what_was_read_is_found_behind_damage(tmp_path: Path) -> None:
    chunk = 4096
    for begins in range(chunk - 12, chunk + 4):
        start = BODY + b"~" * (begins - len(BODY))
        path = tmp_path / "wal-1.v1"
        path.write_bytes(start + NEXT)
        (segment,) = list_segments(tmp_path)
        with path.open("rb") as file:
            frames = FrameReader(segment, file.fileno(), segment.size, records=True, chunk=chunk)
            assert sum(map(len, frames.batches())) == 5
            assert frames.resume(), begins
            assert [one.lsn for batch in frames.batches() for one in batch] == [6], begins
