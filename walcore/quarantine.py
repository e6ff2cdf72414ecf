"""What had to leave the log and is kept: copies in the folder `quarantine`, whose names tell where they come from.

A copy is called `NAME.START-END.lsnLSN`: bytes START to END of the file NAME, and the highest LSN in them, so that no
opening has to read it for that; behind it `.2`, `.3` and so on where that name has other bytes already.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from walcore.files import same_content, told
from walcore.format import QUARANTINE_NAME, TEMPORARY_SUFFIX
from walcore.frames import check_segment
from walcore.segments import Directory
from walcore.system import calls

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT: Final = re.compile(r".*\.lsn([0-9]+)(\.[0-9]+)?")


def keep(directory: Directory, name: str, start: int, end: int, lsn: int) -> str:
    """Copy bytes `start` to `end` of `name` into the quarantine and bring them to the disk; `name` stays as it is.

    `lsn` is the highest LSN in them.  Made again after a crash, the same copy is not kept twice.

    Returns:
        The copy's path within the directory.

    Raises:
        OSError: no copy is left.
    """
    target = f"{name}.{start}-{end}.lsn{lsn}"
    temporary = target + TEMPORARY_SUFFIX
    path = directory.path / QUARANTINE_NAME
    with Directory(path, create=True, within=directory.fd, file_mode=directory.file_mode) as folder:
        try:
            directory.copy(name, folder, temporary, start, end)
        except OSError:
            with suppress(OSError):  # nothing in it: left as it was
                calls.rmdir(QUARANTINE_NAME, dir_fd=directory.fd)
            raise
        target = _publish(folder, temporary, target)
        folder.sync()
    directory.sync()
    return f"{QUARANTINE_NAME}/{target}"


def lsns(directory: Directory) -> Iterator[int]:
    """The highest LSN of each copy, and of each segment that somebody put there: none is given out again."""
    if not directory.has(QUARANTINE_NAME):
        return
    with Directory(directory.path / QUARANTINE_NAME, within=directory.fd) as folder:
        folder.remove_temporaries()
        for name in folder.names():
            if match := _KEPT.fullmatch(name):
                yield int(match[1])
            elif (segment := folder.segment(name)) and not segment.irregular:
                yield check_segment(segment, folder=folder).max_lsn


def _publish(folder: Directory, temporary: str, target: str) -> str:
    """The name that the copy has now: the one that it should have, or the first behind it."""
    name, attempt = target, 1
    while True:
        with suppress(FileExistsError):
            folder.publish(temporary, name)
            return name
        if _same(folder, temporary, name):
            folder.drop(temporary)
            return name
        attempt += 1
        name = f"{target}.{attempt}"


def _same(folder: Directory, one: str, other: str) -> bool:
    with told("read", folder.path / other), folder.opened(one) as left, folder.opened(other) as right:
        folder.sync_data(right, other)
        return same_content(left, right)
