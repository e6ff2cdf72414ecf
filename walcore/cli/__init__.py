"""The command line: one file a command, each a public call plus printing.

Exit status: 0 ok, 1 damage found (or input that the log can't hold), 2 usage, 3 locked, 4 any other failure,
130 interrupted, 141 when what reads our output went away (as the shell reports it for any filter).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

OK: Final = 0
DAMAGE: Final = 1
USAGE: Final = 2
LOCKED: Final = 3
FAILURE: Final = 4
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line with `argv` (default: the process's arguments); returns the exit status."""
    try:
        from walcore.cli.app import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write("walcore: the command line needs click and rich: pip install 'walcore[cli]'\n")
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    return run(argv)
