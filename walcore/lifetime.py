"""What happens to open logs when their process forks or ends.

A fork copies a log's memory, but not its threads, and shares its descriptors: the copy must neither write nor hold the
lock.  At exit, logs that nobody closed are drained.  The hooks are per process, like the events they are for; what they
know is only which logs are open.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class Mortal(Protocol):
    """An open log, as the hooks see it."""

    def close_at_exit(self) -> None:
        """Drain and close, whatever happens."""

    def abandon_in_child(self) -> None:
        """Give up a copy that a fork made, touching nothing that is shared with the parent."""


_open_logs: weakref.WeakSet[Mortal] = weakref.WeakSet()


def watch(log: Mortal) -> None:
    """Have `log` told of forks and of the end, until it is closed or dropped."""
    _open_logs.add(log)


def forget(log: Mortal) -> None:
    """Tell `log` of nothing any more."""
    _open_logs.discard(log)


def _after_fork_in_child() -> None:
    for log in list(_open_logs):
        log.abandon_in_child()
    _open_logs.clear()


def _at_exit() -> None:
    for log in list(_open_logs):
        log.close_at_exit()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
