"""C code beside the tests, made to be preloaded (LD_PRELOAD) into a program that a test starts."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest


def build(source: Path, folder: Path) -> Path:
    """Compile `source` into `folder`; where there is nothing to compile it with or for, the test is skipped."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or platform.libc_ver()[0] != "glibc":
        pytest.skip(f"{source.parent.name}/{source.name} is preloaded, which needs glibc and a C compiler")
    target = folder / f"{source.stem}.so"
    # The real functions are looked up by the names that the interpreter calls: no renaming of open to open64.
    flags = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-U_FILE_OFFSET_BITS", "-U_FORTIFY_SOURCE"]
    subprocess.run([compiler, *flags, "-o", target, source, "-ldl", "-lpthread"], check=True)
    return target
