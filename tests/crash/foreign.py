"""Programs of the shared folder, which know nothing of walcore, as modules."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from types import ModuleType


@functools.cache
def program(name: str) -> ModuleType:
    """The module `name` of the folder `crashstates`."""
    path = Path(os.environ["WALCORE_SHARED"]) / "crashstates" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
