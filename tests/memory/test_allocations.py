"""Memory that runs out at any request: no crash, no leak, nothing promised is lost, the log works or says no."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import preloads
import pytest
from tally import LONG

HERE = Path(__file__).parent
END = 1_000_000
STEPS = {"core": 1, "python": 1 if LONG else 251}
"""Of the numbers in life.py, every so many; it ends by itself when no request is that late."""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return preloads.build(HERE / "shim.c", tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("how", ["once", "many"])
@pytest.mark.parametrize("kind", ["core", "python"])
def test_without_memory_nothing_promised_is_lost(tmp_path: Path, shim: Path, kind: str, how: str) -> None:
    if kind == "python" and importlib.util.find_spec("_testcapi") is None:
        pytest.skip("this interpreter has no _testcapi, which makes its allocators fail")
    environment = os.environ | ({"LD_PRELOAD": str(shim)} if kind == "core" else {})
    program = [sys.executable, "-P", str(HERE / "life.py"), tmp_path, kind, how, "0", str(END), str(STEPS[kind])]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^(\d+) (.*)$", done.stdout, re.MULTILINE)
    wrong = [
        f"{' '.join(map(str, program[4:6]))} {n} {int(n) + 1} 1: {what}"
        for n, what in told
        if what not in ("ok", "over")
    ]
    assert not wrong, f"{wrong}\n{done.stderr[-4000:]}"
    failed = sum(what == "ok" for _, what in told)
    print(f"{failed} lives with a request that failed {how}, {kind}; the last was number {told[-1][0]}")
    assert failed >= (10 if kind == "core" else 40)
