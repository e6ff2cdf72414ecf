"""CRC-32C: every way that this processor has, against RFC 3720's vectors and the crc32c package."""

from __future__ import annotations

import ctypes
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import crc32c
import pytest

from walcore._core import encode

SOURCE = Path(__file__).parents[2] / "walcore" / "_core" / "crc32c.c"
WAYS = {"sse4.2": "walcore_crc32c_sse42", "armv8": "walcore_crc32c_armv8", "table": "walcore_crc32c_table"}
HERE = {"x86_64": ["sse4.2", "table"], "aarch64": ["armv8", "table"], "arm64": ["armv8", "table"]}.get(
    platform.machine(), ["table"]
)
READ_COMMAND = bytes.fromhex(
    "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000"
)
# RFC 3720, B.4, and the check value of the catalogues.
VECTORS = [
    (b"", 0),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(reversed(range(32))), 0x113FDB5C),
    (READ_COMMAND, 0xD9963A56),
    (b"123456789", 0xE3069283),
]
Crc = Callable[[bytes, int], int]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler to build crc32c.c by itself")
    path = tmp_path_factory.mktemp("crc32c") / "crc32c.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", SOURCE, "-o", path], check=True)
    return ctypes.CDLL(str(path))


@pytest.fixture(params=["core", *HERE])
def crc(request: pytest.FixtureRequest) -> Crc:
    if request.param == "core":
        return encode.crc32c
    library = request.getfixturevalue("library")
    if not library.walcore_crc32c_supported(request.param.encode()):
        pytest.skip(f"this processor has no {request.param}")
    function = library[WAYS[request.param]]
    function.argtypes, function.restype = (ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t), ctypes.c_uint32
    return lambda data, crc: function(crc, data, len(data))


@pytest.mark.parametrize(("data", "expected"), VECTORS, ids=[f"{crc:08x}" for _, crc in VECTORS])
def test_the_published_vectors_hold(crc: Crc, data: bytes, expected: int) -> None:
    assert crc(data, 0) == expected


def test_every_length_and_alignment_agrees_with_the_crc32c_package(crc: Crc) -> None:
    data = random.Random(1).randbytes(600)
    for start in range(9):
        for size in (*range(70), 160, 333, 400, 591):
            piece = data[start : start + size]
            assert crc(piece, 0) == crc32c.crc32c(piece), (start, size)


def test_a_checksum_can_be_taken_in_pieces(crc: Crc) -> None:
    data = random.Random(2).randbytes(100)
    for cut in range(101):
        assert crc(data[cut:], crc(data[:cut], 0)) == crc32c.crc32c(data)


def test_megabytes_agree_too(crc: Crc) -> None:
    data = random.Random(3).randbytes(3_000_001)
    assert crc(data, 0) == crc32c.crc32c(data)


def test_the_fastest_way_that_this_processor_has_is_chosen(library: ctypes.CDLL) -> None:
    library.walcore_crc32c_backend.restype = ctypes.c_char_p
    fastest = next(way for way in HERE if library.walcore_crc32c_supported(way.encode()))
    assert library.walcore_crc32c_backend().decode() == encode.crc32c_backend() == fastest
    assert library.walcore_crc32c_supported(b"table")
    assert not library.walcore_crc32c_supported(b"abacus")


def test_threads_that_ask_first_at_once_get_the_same_answer() -> None:
    code = (
        "import threading; from walcore._core import encode\n"
        "start, found = threading.Barrier(16), []\n"
        "def ask(): start.wait(); found.append(encode.crc32c(b'123456789'))\n"
        "threads = [threading.Thread(target=ask) for _ in range(16)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert found == [0xE3069283] * 16, found"
    )
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda _: subprocess.run([sys.executable, "-c", code], check=False), range(4)):
            assert done.returncode == 0
