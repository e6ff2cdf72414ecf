"""Interpreters beside the main one: walcore works in one of a process, and tells the others so; nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import walcore

pytest.importorskip("_interpreters", reason="a Python with the module _interpreters (3.13) is needed")

PROGRAM = """
import sys, _interpreters

def run(kind, code):
    interpreter = _interpreters.create(kind)
    error = _interpreters.exec(interpreter, "import sys; directory = %r; path = %r\\n" % (sys.argv[1], sys.path) + code)
    _interpreters.destroy(interpreter)
    return error and error.formatted

USE = '''
sys.path[:] = path
import walcore
wal = walcore.open(directory, max_segment_bytes=2000)
wal.commit(wal.log_mint(1, 'I', 'x'))
wal.log_mint_many([(id, 'I', 'y' * 100) for id in range(2, 100)])
wal.log_mint(100, 'I', 'not committed when the interpreter ends')
'''
"""


def answers(more: str, directory: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM + more, directory],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_interpreter_with_its_own_gil_is_refused_in_so_many_words(tmp_path: Path) -> None:
    more = "print(run('isolated', USE))\nimport walcore\nprint(run('isolated', USE))\nwalcore.open(sys.argv[1]).close()"
    for answer in answers(more, tmp_path / "wal"):
        assert answer.startswith("ImportError: walcore works in one interpreter of a process")


def test_a_second_interpreter_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    more = """
import walcore
wal = walcore.open(sys.argv[1])
print(run('legacy', USE))
print(wal.commit(wal.log_mint(1, 'I', 'x')))
wal.close()
"""
    refused, lsn = answers(more, tmp_path / "wal")
    assert "one interpreter of a process" in refused
    assert lsn == "1"
    assert [record.lsn for record in walcore.read(tmp_path / "wal")] == [1]


def test_an_interpreter_that_ends_drains_its_log_and_gives_back_the_lock(tmp_path: Path) -> None:
    assert answers("print(run('legacy', USE))", tmp_path / "wal") == ["None"]
    with walcore.open(tmp_path / "wal") as wal:
        assert wal.opening.clean
    assert [record.lsn for record in walcore.read(tmp_path / "wal")] == list(range(1, 101))


def test_two_processes_are_kept_apart_whatever_interpreter_holds_the_lock(tmp_path: Path) -> None:
    more = """
import subprocess
OPEN = "import walcore, sys\\ntry: walcore.open(sys.argv[1])\\nexcept walcore.WalLockedError: print('locked')"
ASK = f"import subprocess; subprocess.run([sys.executable, '-c', {OPEN!r}, directory], check=True)"
print(run('legacy', USE + ASK))
"""
    assert answers(more, tmp_path / "wal") == ["locked", "None"]
