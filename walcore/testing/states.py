"""The states in which a power cut can leave a tree: what a sync covered is there, of the rest any part.

Seeds below `len(PLAIN)` give the plain cases, all others one that is drawn: of each file and each folder by itself.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from walcore.testing.journal import Names, Node, Past, Pending, Resize, Write, alter, rename

if TYPE_CHECKING:
    from pathlib import Path

SECTOR: Final = 512
PAGE: Final = 4096
UNITS: Final = (1, SECTOR, PAGE)


def _lost(pending: Pending, _random: Random) -> bytearray:
    return bytearray(pending.content)


def _kept(pending: Pending, _random: Random) -> bytearray:
    return _altered(bytearray(pending.content), pending.data)


def _sized(pending: Pending, _random: Random) -> bytearray:
    """The size reached the disk, the data did not."""
    content = bytearray(pending.content)
    for change in pending.data:
        if isinstance(change, Write):
            change = Resize(change.node, max(len(content), change.offset + len(change.data)))  # noqa: PLW2901
        alter(content, change)
    return content


def _torn(pending: Pending, random: Random) -> bytearray:
    """The changes up to one of them, which is cut off."""
    changes = pending.data
    return _cut(pending, changes[: random.randrange(len(changes)) + 1], random)


def _torn_last(pending: Pending, random: Random) -> bytearray:
    return _cut(pending, pending.data, random)


def _cut(pending: Pending, changes: list[Write | Resize], random: Random) -> bytearray:
    *whole, last = changes
    content = _altered(bytearray(pending.content), whole)
    if isinstance(last, Write) and last.data:
        end = random.randrange(last.offset, last.offset + len(last.data))
        end -= end % random.choice(UNITS)
        if end > last.offset:
            alter(content, Write(last.node, last.offset, last.data[: end - last.offset]))
    return content


def _scattered(pending: Pending, random: Random) -> bytearray:
    """Every page, or sector, and the size as they were at a moment of their own."""
    content, changes = bytearray(pending.content), pending.data
    # No page of a file is older than the cut that took it away.
    settled = max((place + 1 for place, change in enumerate(changes) if isinstance(change, Resize)), default=0)
    if settled and random.random() < 0.5:
        return _altered(content, changes[: random.randrange(settled)])
    latest = _altered(content, changes[:settled])
    content, changes, unit = bytearray(latest), changes[settled:], random.choice((SECTOR, PAGE))
    if not changes:
        return content
    moments: dict[int, list[int]] = {}
    for page in sorted({page for change in changes for page in _pages(change, unit)}):
        moments.setdefault(random.randrange(len(changes) + 1), []).append(page)
    sizes = [len(latest)]
    for moment, change in enumerate(changes, 1):
        alter(latest, change)
        sizes.append(len(latest))
        for page in moments.get(moment, ()):
            alter(content, Write(change.node, page * unit, bytes(latest[page * unit : (page + 1) * unit])))
    alter(content, Resize(changes[0].node, random.choice(sizes)))
    return content


def _pages(change: Write | Resize, unit: int) -> Iterable[int]:
    if isinstance(change, Resize) or not change.data:
        return ()
    return range(change.offset // unit, (change.offset + len(change.data) - 1) // unit + 1)


def _altered(content: bytearray, changes: Iterable[Write | Resize]) -> bytearray:
    for change in changes:
        alter(content, change)
    return content


def _no_names(pending: Pending, _random: Random) -> dict[str, Node]:
    return dict(pending.entries)


def _all_names(pending: Pending, _random: Random) -> dict[str, Node]:
    return _renamed(pending, pending.names)


def _some_names(pending: Pending, random: Random) -> dict[str, Node]:
    """Any of the changes, but of one name none without those before it."""
    kept: list[Names] = []
    stuck: set[str] = set()
    for change in pending.names:
        names = {name for name, _ in change.changes}
        if stuck & names or random.random() < 0.5:
            stuck |= names
        else:
            kept.append(change)
    return _renamed(pending, kept)


def _renamed(pending: Pending, changes: Iterable[Names]) -> dict[str, Node]:
    entries = dict(pending.entries)
    for change in changes:
        rename(entries, change)
    return entries


Content = Callable[[Pending, Random], bytearray]
Entries = Callable[[Pending, Random], dict[str, Node]]

PLAIN: Final[tuple[tuple[str, Entries, Content], ...]] = (
    ("nothing that no sync covered", _no_names, _lost),
    ("everything", _all_names, _kept),
    ("names without data", _all_names, _lost),
    ("the last write torn", _all_names, _torn_last),
    ("sizes without data", _all_names, _sized),
    ("data without names", _no_names, _kept),
)
_CONTENTS: Final = (_lost, _kept, _torn, _scattered, _scattered, _sized)
_ENTRIES: Final = (_no_names, _all_names, _some_names)


class Tree:
    """Files and folders as they would be found: `files` maps paths to nodes, `contents` nodes to their bytes."""

    def __init__(self, past: Past, seed: int, random: Random) -> None:
        self.files: dict[str, Node] = {}
        self.contents: dict[Node, bytes] = {}
        self._past, self._random = past, random
        self._plain = PLAIN[seed] if seed < len(PLAIN) else None
        self._walk("", past.root)

    def _walk(self, path: str, node: Node) -> None:
        """Draws in the order of names: the same seed draws the same."""
        self.files[path] = node
        pending = self._past.of(node)
        if node.is_folder:
            how = self._plain[1] if self._plain else self._random.choice(_ENTRIES)
            for name, child in sorted(how(pending, self._random).items()):
                self._walk(f"{path}/{name}" if path else name, child)
        elif node not in self.contents:
            draw = self._plain[2] if self._plain else self._random.choice(_CONTENTS)
            self.contents[node] = bytes(draw(pending, self._random) if pending.changes else pending.content)

    def digest(self) -> bytes:
        """Equal for equal trees."""
        found = hashlib.blake2b(digest_size=16)
        for path, node in sorted(self.files.items()):
            content = self.contents.get(node, b"")
            found.update(b"%d %s %d " % (node.is_folder, path.encode("utf-8", "surrogateescape"), len(content)))
            found.update(content)
        return found.digest()

    def write(self, into: Path) -> None:
        """Make the tree in the folder `into`, which is made too; hard links stay hard links.

        Raises:
            FileExistsError: there is something in it.
        """
        into.mkdir(parents=True, exist_ok=True)
        if any(into.iterdir()):
            msg = f"{into} isn't empty: name a folder that a power cut may be written to"
            raise FileExistsError(msg)
        first: dict[Node, Path] = {}
        for path, node in self.files.items():
            target = into / path
            if node.is_folder:
                target.mkdir(exist_ok=True)
                target.chmod(node.mode | stat.S_IRWXU)  # whoever looks at the state has to get into it, and rid of it
            elif node in first:
                target.hardlink_to(first[node])
            else:
                target.write_bytes(self.contents[node])
                target.chmod(node.mode)
                first[node] = target

    def __iter__(self) -> Iterator[tuple[str, bytes | None]]:
        """Paths, and the bytes of those that are files."""
        return ((path, None if node.is_folder else self.contents[node]) for path, node in self.files.items() if path)
