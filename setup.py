"""The compiled modules and how they are compiled; everything else about the package is in pyproject.toml.

Environment: WALCORE_WERROR=1 makes every warning an error; WALCORE_SANITIZE=address, thread or undefined builds for that
sanitizer.
"""

import atexit
import os
import shutil
import sys
import tempfile
from glob import glob

from setuptools import Extension, setup

if sys.platform == "win32":
    sys.exit("walcore needs POSIX file locks and file descriptors: it can't be built on Windows.")

CORE = "walcore/_core"
FLAGS = ["-O2", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"]
# What Cython writes, not us: it fills its tables of slots and methods as far as they are used.
FLAGS += ["-Wno-missing-field-initializers", "-Wno-unused-parameter", "-Wno-cast-function-type"]
LINK = ["-pthread"]

if os.environ.get("WALCORE_WERROR") == "1":
    from Cython.Compiler import Options

    Options.warning_errors = True
    FLAGS.append("-Werror")
if sanitizer := os.environ.get("WALCORE_SANITIZE"):
    FLAGS += [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer", "-g"]
    LINK.append(f"-fsanitize={sanitizer}")

DIRECTIVES = {
    "language_level": "3",
    "binding": True,
    "embedsignature": True,
    "boundscheck": False,
    "wraparound": False,
    "freethreading_compatible": True,
    # Both only add names that the stubs would have to repeat.
    "auto_pickle": False,
    "autotestdict": False,
}


def extensions() -> list[Extension]:
    """One for each .pyx; the C files are small and go into every one, so that no library has to be shipped beside."""
    return [
        Extension(
            path.removesuffix(".pyx").replace("/", "."),
            sources=[path, *sorted(glob(f"{CORE}/*.c"))],
            depends=sorted(glob(f"{CORE}/*.h")),
            include_dirs=[CORE],
            extra_compile_args=FLAGS,
            extra_link_args=LINK,
        )
        for path in sorted(glob(f"{CORE}/*.pyx"))
    ]


# A build folder that outlives the build ships modules deleted since; a fresh one can't.
build_folder = tempfile.mkdtemp(prefix="walcore-build-")
atexit.register(shutil.rmtree, build_folder, ignore_errors=True)

setup(
    ext_modules=extensions(),
    options={
        "build": {"build_base": build_folder},
        "build_ext": {"cython_c_in_temp": True, "cython_directives": DIRECTIVES},
    },
)
