"""What a run did to the files of a tree, in order, and what of it is on disk after so many of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any


class Node:
    """A file or folder: `content` (bytes) or `entries` as they were when watching began, which is on disk.

    `path`, from the tree's root, is the name last given to it.
    """

    __slots__ = ("content", "entries", "is_folder", "mode", "path")

    def __init__(self, path: str, mode: int, *, is_folder: bool, content: bytes = b"") -> None:
        self.path = path
        self.mode = mode
        self.is_folder = is_folder
        self.content = content
        self.entries: dict[str, Node] = {}


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written into a file."""

    node: Node
    offset: int
    data: bytes

    def __str__(self) -> str:
        return f"write of bytes {self.offset} to {self.offset + len(self.data)} of {self.node.path}"


@dataclass(frozen=True, slots=True)
class Resize:
    """A file cut, or grown with zeros."""

    node: Node
    size: int

    def __str__(self) -> str:
        return f"truncation of {self.node.path} to {self.size} bytes"


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one folder given (a node) or taken away (None), all at once."""

    node: Node
    changes: tuple[tuple[str, Node | None], ...]

    def __str__(self) -> str:
        told = [f"{'-' if node is None else '+'}{name}" for name, node in self.changes]
        return f"change of names in {self.node.path or '.'}: {' '.join(told)}"


@dataclass(frozen=True, slots=True)
class Sync:
    """A sync that returned.  It covers the steps before step `upto`, those that had returned when it was called.

    `kept` is False for one that failed: the system may have dropped what it could not write, and calls the next sync a
    success.
    """

    node: Node
    upto: int
    kept: bool

    def __str__(self) -> str:
        return f"{'' if self.kept else 'failed '}sync of {self.node.path or '.'}"


@dataclass(frozen=True, slots=True)
class Note:
    """A word of the test's, such as what was promised to a user from here on."""

    value: Any

    def __str__(self) -> str:
        return f"note {self.value!r}"


Change = Write | Resize | Names
Step = Change | Sync | Note


@dataclass(slots=True)
class Pending:
    """What of one file or folder is on disk, and the changes that no sync covered yet, oldest first.

    `lost` are those that a sync failed for: at which step, and their own.
    """

    content: bytearray
    entries: dict[str, Node]
    changes: list[tuple[int, Change]] = field(default_factory=list)
    lost: list[tuple[int, int, Change]] = field(default_factory=list)

    @property
    def data(self) -> list[Write | Resize]:
        """The changes of a file."""
        return [change for _, change in self.changes if not isinstance(change, Names)]

    @property
    def names(self) -> list[Names]:
        """The changes of a folder."""
        return [change for _, change in self.changes if isinstance(change, Names)]


class Past:
    """The disk after the first steps of a run; `taken` counts them."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.taken = 0
        self.notes: list[Any] = []
        self._of: dict[Node, Pending] = {}

    def of(self, node: Node) -> Pending:
        """What is known of a file or folder."""
        if node not in self._of:
            self._of[node] = Pending(bytearray(node.content), dict(node.entries))
        return self._of[node]

    def take(self, step: Step) -> None:
        """Go on by one step."""
        if isinstance(step, Note):
            self.notes.append(step.value)
        elif isinstance(step, Sync):
            self._sync(self.of(step.node), step)
        else:
            self.of(step.node).changes.append((self.taken, step))
        self.taken += 1

    def _sync(self, pending: Pending, sync: Sync) -> None:
        covered = [(index, change) for index, change in pending.changes if index < sync.upto]
        pending.changes = [(index, change) for index, change in pending.changes if index >= sync.upto]
        if not sync.kept:
            pending.lost += [(self.taken, index, change) for index, change in covered]
            return
        # What another sync failed for while this one was under way: this one had it, too.
        saved = [(index, change) for at, index, change in pending.lost if index < sync.upto <= at]
        pending.lost = [lost for lost in pending.lost if not lost[1] < sync.upto <= lost[0]]
        for _, change in sorted(covered + saved, key=itemgetter(0)):
            if isinstance(change, Names):
                rename(pending.entries, change)
            else:
                alter(pending.content, change)


def alter(content: bytearray, change: Write | Resize) -> None:
    """Do to `content` what was done to the file."""
    end = change.size if isinstance(change, Resize) else change.offset + len(change.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if isinstance(change, Resize):
        del content[end:]
    else:
        content[change.offset : end] = change.data


def rename(entries: dict[str, Node], change: Names) -> None:
    """Do to `entries` what was done to the folder."""
    for name, node in change.changes:
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node
