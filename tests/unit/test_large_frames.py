"""Frames that are large, or claim to be: they are read, and no file makes memory or time grow beyond what it is."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import logs
import pytest
from one_segment import BODY, END, NEXT, RECORDS, kinds, read, segment

from walcore import frames, sources
from walcore.frames import check_segment
from walcore.segments import list_segments

MIB = 2**20


def peak(call: Callable[[], object]) -> int:
    """MiB that Python allocated at most during the call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] // MIB
    finally:
        tracemalloc.stop()


def test_a_length_allocates_nothing(tmp_path: Path) -> None:
    one = segment(tmp_path, BODY)
    with one.path.open("r+b") as file:  # a sparse file of 400 MiB, its frame claims 300
        file.seek(END)
        file.write(struct.pack("<I", 300 * MIB) + b'{"t":"M"')
        file.truncate(400 * MIB)
    (one,) = list_segments(tmp_path)
    assert peak(lambda: check_segment(one)) < 8


def test_a_gzip_bomb_takes_constant_memory(tmp_path: Path) -> None:
    bomb = zlib.compressobj(9, wbits=31)
    parts = [bomb.compress(BODY + struct.pack("<I", 300 * MIB))]
    parts += [bomb.compress(bytes(MIB)) for _ in range(320)]
    one = segment(tmp_path, b"".join([*parts, bomb.flush()]), seal=True)
    assert one.size < MIB
    assert peak(lambda: check_segment(one)) < 8


# A process of its own reads the log and tells by how many MiB that raised the most memory it ever held.
MEASURE = """
import sys, warnings
from pathlib import Path
import walcore
from walcore import frames

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])

directory, mode = sys.argv[1:]
warnings.simplefilter("ignore")
list(walcore.read("{small}"))
before = held()
frames._TRIAL_BYTES = 64 << 20
reader = walcore.read(directory, mode=mode)
records = sum(1 for _ in reader)
print((held() - before) // 1024, records, *(str(fault.kind) for fault in reader.report.faults))
"""
BIG = 64  # MiB that a bomb's frame claims and has


def bomb(directory: Path, *parts: bytes) -> Path:
    """A directory with a gzip segment of a header, the RECORDS and the parts, given as they are."""
    deflate = zlib.compressobj(9, wbits=31)
    packed = [deflate.compress(part) for part in (BODY, *parts)]
    logs.write(directory, "wal-1.v1.gz", b"".join([*packed, deflate.flush()]))
    return directory


def measured(directory: Path, mode: str) -> tuple[int, int, list[str]]:
    """MiB held more than after reading a small log, records, kinds of faults."""
    small = directory.parent / "small"
    logs.write(small, "wal-1.v1.gz", logs.sealed(BODY, 5))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.replace("{small}", str(small)), str(directory), mode],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    mib, records, *faults = done.stdout.split()
    return int(mib), int(records), faults


def large(lsn: int, size: int) -> bytes:
    """A mint frame with a lexical of so many bytes."""
    one = b'{"t":"M","lsn":%d,"id":%d,"vk":"I","lex":"%s","dt":"","lang":"","hash":0}\n'
    return logs.raw_frame(one % (lsn, lsn, b"x" * size))


LIE = struct.pack("<I", BIG * MIB)
BLANKS = b" " * (BIG * MIB - 1)
BOMBS: dict[str, tuple[list[bytes], int, list[str]]] = {
    "a false checksum": ([LIE, b"{", BLANKS, bytes(4), NEXT], 0, ["corrupt_frame"]),
    "a frame that the bytes end in": ([LIE, b"{", BLANKS[: 40 * MIB], NEXT], 0, ["corrupt_frame"]),
    "lies in lies": ([(LIE + b'{"') * (8 * MIB)], 0, ["corrupt_frame"]),
    "blanks that hold": ([logs.raw_frame(b" " + BLANKS), NEXT], BIG, ["invalid_record"]),
    "an opened object of blanks that holds": ([logs.raw_frame(b"{" + BLANKS), NEXT], BIG, ["invalid_record"]),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("mode", ["SEGMENT", "SALVAGE"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_large_frame_of_a_bomb_takes_no_more_than_it_is(tmp_path: Path, name: str, mode: str) -> None:
    parts, frame, faults = BOMBS[name]
    mib, records, met = measured(bomb(tmp_path / "bomb", *parts), mode)
    assert mib <= frame + 8
    salvaged = mode == "SALVAGE" and NEXT in parts
    assert records == 5 + salvaged
    assert met == faults


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("seal", [False, True], ids=["plain", "sealed"])
def test_a_large_record_takes_its_frame_and_its_string(tmp_path: Path, seal: bool) -> None:
    content = BODY + b"".join(large(lsn, 32 * MIB) for lsn in (6, 7, 8)) + logs.mint(logs.record(9))
    logs.write(tmp_path / "log", "wal-1.v1.gz" if seal else "wal-1.v1", logs.sealed(content, 9) if seal else content)
    mib, records, faults = measured(tmp_path / "log", "SALVAGE")
    assert (records, faults) == (9, [])
    assert mib <= 32 + 2 * 32 + 8  # a frame, its string and the string before, which the caller still has


@pytest.mark.parametrize("mode", ["cut", "flipped"])
def test_frames_behind_a_lying_length_in_damaged_gzip_are_salvaged(tmp_path: Path, mode: str) -> None:
    noise = b"".join(logs.mint(logs.record(lsn, lexical=os.urandom(500).hex())) for lsn in range(7, 2000))
    data = bytearray(gzip.compress(BODY + struct.pack("<I", 5 * MIB) + b'{"' + NEXT + noise))
    half = len(data) // 2
    if mode == "cut":
        del data[half:]
    else:
        data[half : half + 40] = bytes(40)
    records, faults = read(tmp_path, bytes(data), seal=True)
    assert [one.lsn for one in records[:900]] == [*range(1, 901)]
    kind = "truncated_gzip" if mode == "cut" else "corrupt_frame"
    assert kinds(faults) == [kind, kind]
    assert faults[0].offset == END


def test_a_hundred_lies_between_records_end_by_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_TRIAL_BYTES", 16 * MIB)
    lies = b"".join(struct.pack("<I", 4 * MIB) + b"{ " + logs.mint(logs.record(lsn)) for lsn in range(6, 106))
    one = segment(tmp_path, gzip.compress(BODY + lies + bytes(5 * MIB)), seal=True)
    asked: list[int] = []
    holds = sources.GzipSource.holds

    def count(self: sources.GzipSource, offset: int, size: int) -> bool | None:
        asked.append(offset)
        return holds(self, offset, size)

    monkeypatch.setattr(sources.GzipSource, "holds", count)
    assert check_segment(one).faults
    assert len(asked) < 8


def test_behind_too_many_lies_a_large_length_is_one_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lie = struct.pack("<I", 2 * MIB) + b"{ "
    content = BODY + lie + NEXT + lie + logs.mint(logs.record(7)) + bytes(5 * MIB)
    packed = gzip.compress(content)
    wrong, unseen = "the checksum doesn't hold", "a large length, and too many before it that were wrong"
    for spare, told in ((4 * MIB, [wrong, wrong]), (4000, [wrong, unseen])):
        monkeypatch.setattr(frames, "_TRIAL_BYTES", 2 * MIB + 8 + spare - 4 * len(packed))
        records, faults = read(tmp_path, packed, seal=True)
        assert [fault.detail for fault in faults[:2]] == told
        assert [one.lsn for one in records] == [1, 2, 3, 4, 5, 6] + [7] * (unseen not in told)


def test_a_large_frame_is_looked_at_in_one_more_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = BODY + b"".join(large(lsn, 2 * MIB) for lsn in range(6, 14))
    one = segment(tmp_path, logs.sealed(content, 13), seal=True)
    given = 0
    readinto = sources.GzipSource.readinto

    def count(self: sources.GzipSource, room: memoryview) -> int:
        nonlocal given
        got = readinto(self, room)
        given += got
        return got

    monkeypatch.setattr(sources.GzipSource, "readinto", count)
    found = check_segment(one)
    assert (found.faults, found.frames) == ((), 15)
    assert given <= 2 * found.size


@pytest.mark.parametrize("seal", [False, True], ids=["plain", "sealed"])
def test_a_large_frame_is_read(tmp_path: Path, seal: bool) -> None:
    big = logs.record(6, lexical="é" * (3 * MIB))
    content = logs.plain([*RECORDS, big, logs.record(7)])
    data = logs.sealed(content, 7) if seal else content
    assert read(tmp_path, data, seal=seal) == ([*RECORDS, big, logs.record(7)], [])
    damaged = content.replace("ééé".encode(), "éée".encode() + b"e", 1)
    data = logs.sealed(damaged, 7) if seal else damaged
    assert read(tmp_path / "damaged", data, seal=seal)[0] == [*RECORDS, logs.record(7)]


def test_garbage_is_searched_in_time_linear_in_its_size(tmp_path: Path) -> None:
    # Every fifth byte may begin a frame of all the rest.
    content = BODY + struct.pack("<I", 3 * MIB)[:4] + b'{"' + (struct.pack("<I", 2 * MIB) + b'{"') * 700_000
    one = segment(tmp_path, content)
    assert not check_segment(one).tear  # too many to try them all: nothing is cut


@pytest.mark.parametrize("begin", [b" ", b"{"], ids=["blanks", "an opened object"])
def test_of_a_large_frame_that_is_no_object_no_copy_is_made(tmp_path: Path, begin: bytes) -> None:
    one = segment(tmp_path, BODY + logs.raw_frame(begin + b" " * (16 * MIB)) + NEXT)
    assert peak(lambda: kinds(check_segment(one).faults) == ["invalid_record"]) < 16 + 8


@pytest.mark.parametrize("seal", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize("cut", [1, 2 * MIB, 3 * MIB - 100])
def test_a_large_frame_that_the_bytes_end_in_is_a_fault_at_its_start(tmp_path: Path, cut: int, seal: bool) -> None:
    frame = large(6, 3 * MIB)[:-cut]
    content = BODY + frame
    records, faults = read(tmp_path, gzip.compress(content, 1) if seal else content, seal=seal)
    assert records == RECORDS
    (fault,) = faults
    assert (str(fault.kind), fault.offset) == ("corrupt_frame" if seal else "torn_tail", END)
    assert fault.detail == f"the file ends inside a frame, {len(frame)} bytes behind its start"
