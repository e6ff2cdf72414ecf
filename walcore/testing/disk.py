"""A folder whose disk can be made to fail: every change is written down, calls are spoiled by rules, the power goes."""

from __future__ import annotations

import errno
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

from walcore.testing import standin
from walcore.testing.faults import Fault, PowerOffError
from walcore.testing.journal import Node, Note, Past, Step, Sync
from walcore.testing.pyfile import REAL_OPEN
from walcore.testing.states import PLAIN, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class PowerCut:
    """One state that a power cut could have left, written out to `path`.

    `at` is how many steps of the run had been made, `after` the last of them, `notes` what had been noted by then.
    `disk.power_cut(into, seed=cut.seed, at=cut.at)` makes it again.
    """

    path: Path
    at: int
    seed: int
    after: str
    notes: list[Any]

    @property
    def id(self) -> str:
        """Step and seed, as one word."""
        return f"{self.at}.{self.seed}"

    @property
    def kind(self) -> str:
        """What of the changes that no sync covered is there."""
        return PLAIN[self.seed][0] if self.seed < len(PLAIN) else "any part"


class Disk:
    """Watches one folder, and all below it, from `with` to the end of its block.

    Args:
        directory: the folder; made if it is missing. What is in it when the block begins counts as on disk.
        seed: for faults that happen by chance.

    Raises:
        ValueError: at the block's beginning, when there are symbolic links or special files below the folder.
        AssertionError: at the block's end, when something was changed that could not be seen; see `check`.
    """

    def __init__(self, directory: str | os.PathLike[str], *, seed: int = 0) -> None:
        self.path = Path(directory)
        self.is_off = False
        """Whether the power went."""
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, str]] = []
        """Every call made on the tree, with the path that it was made on."""
        self.journal: list[Step] = []
        """Every change, sync and note, in order: the points at which the power can go."""
        self.nodes: dict[standin.Key, Node] = {}
        self.descriptors: dict[int, tuple[standin.Key, Node]] = {}
        self._random = Random(seed)  # noqa: S311 (it has to come out the same again)
        self._root: Node

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        self._root = self._found(self.path, "")
        standin.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self.is_off:
                self.check()
        finally:
            standin.end(self)

    def _found(self, path: Path, name: str) -> Node:
        status = path.lstat()
        node = Node(name, status.st_mode & 0o7777, is_folder=path.is_dir() and not path.is_symlink())
        known = self.nodes.setdefault(standin.key_of(status), node)
        if node.is_folder:
            for child in sorted(path.iterdir()):
                node.entries[child.name] = self._found(child, f"{name}/{child.name}" if name else child.name)
        elif path.is_symlink() or not path.is_file():
            msg = f"{path} is neither a file nor a folder: what a power cut does to it isn't known here"
            raise ValueError(msg)
        elif known is node:
            node.content = _content(path)
        return known

    # -- faults -------------------------------------------------------------------------------------------------------

    def fault(
        self,
        call: str,
        error: int = 0,
        *,
        nth: int = 1,
        times: int | None = 1,
        name: str = "*",
        short: int | None = None,
        delay: float = 0.0,
        crash: bool = False,
        chance: float = 1.0,
    ) -> Fault:
        """Add a rule by which calls are spoiled; returns it, to be counted or taken out of `faults` again.

        Args:
            call: a call of `os` ("fsync", "pwrite"), or a family: "open", "read", "write", "sync", "truncate",
                "rename", "link", "unlink", "mkdir", "rmdir", "close", "stat", "list", "lock", "chmod", "chown", "seek";
                "*" is any.
            error: the errno that it raises instead of being made. A sync that fails loses for good what it was for.
                Python's own calls go on by themselves after EINTR, as ever: only the log's core meets it.
            nth: the first such call to be spoiled, counted from now; the first is 1.
            times: how many are spoiled; None is all from then on.
            name: of the file, or its path from the folder watched; with `*`, `?` and `[...]`.
            short: a write or read goes no further than so many bytes.
            delay: seconds that the call takes longer.
            crash: the power goes before the call is made.
            chance: of a call that is due, to be spoiled; drawn by the disk's seed.

        Raises:
            ValueError: there is no such call, or the rule does nothing.
        """
        fault = Fault(
            call=call,
            error=error,
            nth=nth,
            times=times,
            name=name,
            short=short,
            delay=delay,
            crash=crash,
            chance=chance,
        )
        self.faults.append(fault)
        return fault

    def slow(self, seconds: float, call: str = "sync", *, name: str = "*") -> Fault:
        """Let every such call take `seconds` longer."""
        return self.fault(call, delay=seconds, times=None, name=name)

    def count(self, call: str = "*", *, name: str = "*") -> int:
        """How many such calls there were, by the names that `fault` takes: each can be the nth of a sweep."""
        counter = Fault(call=call, error=errno.EIO, name=name, times=0)
        for made, path in self.calls:
            counter.meets(made, path, self._random)
        return counter.seen

    def meet(self, call: str, path: str, *, core: bool = False) -> int | None:
        """Spoil the call that is about to be made, if it is to be.  Returns how short it falls, None if not."""
        with standin.LOCK:
            self.refuse_when_off(path)
            self.calls.append((call, path))
            met = [fault for fault in self.faults if fault.meets(call, path, self._random)]
            if any(fault.crash for fault in met):
                self.crash()
                self.refuse_when_off(path)
        time.sleep(sum(fault.delay for fault in met)) if met else None
        for fault in met:
            if fault.error and (core or fault.error != errno.EINTR):
                raise fault.exception(path)
        return min((fault.short for fault in met if fault.short is not None), default=None)

    # -- what was done ------------------------------------------------------------------------------------------------

    def note(self, value: Any) -> None:
        """Remember `value`, such as what is promised from here on: every later power cut has it in its notes."""
        self.add(Note(value))

    @property
    def notes(self) -> list[Any]:
        """What was noted so far."""
        return [step.value for step in self.journal if isinstance(step, Note)]

    def add(self, step: Step) -> None:
        """Write a step down."""
        with standin.LOCK:
            if not self.is_off:
                self.journal.append(step)

    def check(self) -> None:
        """Compare the tree as it was written down with the one that is there.

        Raises:
            AssertionError: they differ. Something was changed by other means than `os`, `open`, pathlib and walcore
                (another process, a mapping, a library's own C code), so no power cut made here would be true.
        """
        with standin.LOCK:
            told = dict(self._tree(self._past(len(self.journal), syncs=False), 1))
            found = {
                str(path.relative_to(self.path)): None if path.is_dir() else _content(path)
                for path in self.path.rglob("*")
            }
        differ = sorted(name for name in told.keys() | found.keys() if told.get(name, 0) != found.get(name, 0))
        if differ:
            msg = f"{self.path}: changed where it couldn't be seen: {', '.join(differ)}"
            raise AssertionError(msg)

    # -- power cuts ---------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """Cut the power now: nothing changes the files any more, and every lock is free.

        What is open below the folder stays a valid number that nothing can be written to, also when the block has been
        left; calls raise PowerOffError, an OSError with EIO. Take the state from `power_cut`.
        """
        with standin.LOCK:
            if self.is_off:
                return
            self.is_off = True
            dead = standin.REAL.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            for fd, (key, _) in self.descriptors.items():
                if standin.still(fd, key):
                    standin.REAL.dup2(dead, fd, inheritable=False)
            standin.REAL.close(dead)

    def refuse_when_off(self, path: str) -> None:
        """Raise PowerOffError once the power went."""
        if self.is_off:
            raise PowerOffError(errno.EIO, "the power is off", path)

    def power_cut(self, into: str | os.PathLike[str], *, seed: int = 0, at: int | None = None) -> PowerCut:
        """Write to the folder `into`, which must be empty or missing, what a power cut could leave.

        Args:
            into: where to; outside the folder watched.
            seed: 0 to 5 are the plain cases: nothing that no sync covered; everything (what a killed process leaves);
                names without data; the last write torn; sizes without data; data without names. From 6 on each
                number is a state of its own, drawn for every file and folder.
            at: after how many steps of the journal; None is now.
        """
        with standin.LOCK:
            at = len(self.journal) if at is None else at
            past = self._past(at)
        return self._cut(Path(into), past, seed, self._tree(past, seed))

    def power_cuts(
        self, into: str | os.PathLike[str], *, seeds: Iterable[int] = range(8), points: Iterable[int] | None = None
    ) -> Iterator[PowerCut]:
        """Every state that `power_cut` makes with these seeds after every step of the run, equal ones once.

        Each is a folder of its own in `into`, named by its id. It is removed when the next one is asked for: the one at
        which a test fails stays.

        Args:
            into: where to; outside the folder watched.
            seeds: as for `power_cut`, tried at each point.
            points: after how many steps; None is after each, and before the first.
        """
        seeds, wanted = list(seeds), None if points is None else set(points)
        past, seen = Past(self._root), set()
        journal = list(self.journal)
        for at in range(len(journal) + 1):
            if at:
                past.take(journal[at - 1])
            for seed in seeds if wanted is None or at in wanted else ():
                tree = self._tree(past, seed)
                found = (len(past.notes), tree.digest())
                if found not in seen:
                    seen.add(found)
                    cut = self._cut(Path(into) / f"{at}.{seed}", past, seed, tree)
                    yield cut
                    shutil.rmtree(cut.path)

    def try_power_cuts(
        self,
        into: str | os.PathLike[str],
        recovers: Callable[[PowerCut], object],
        *,
        seeds: Iterable[int] = range(8),
        points: Iterable[int] | None = None,
    ) -> int:
        """Call `recovers` with every state of `power_cuts`; returns how many there were.

        Whatever it raises comes out with a note that names the state and the call that makes it again.
        """
        tried = 0
        for cut in self.power_cuts(into, seeds=seeds, points=points):
            tried += 1
            try:
                recovers(cut)
            except Exception as error:
                error.add_note(
                    f"power cut {cut.id} ({cut.kind}) after {cut.after}; left in {cut.path}; "
                    f"again: disk.power_cut(into, seed={cut.seed}, at={cut.at})"
                )
                raise
        return tried

    def _past(self, at: int, *, syncs: bool = True) -> Past:
        """After `at` steps; without `syncs` nothing is on disk, nor lost by a sync that failed."""
        past = Past(self._root)
        for step in self.journal[:at]:
            if syncs or not isinstance(step, Sync):
                past.take(step)
        return past

    @staticmethod
    def _tree(past: Past, seed: int) -> Tree:
        return Tree(past, seed, Random(f"{past.taken}.{seed}"))  # noqa: S311

    def _cut(self, into: Path, past: Past, seed: int, tree: Tree) -> PowerCut:
        tree.write(into)
        after = str(self.journal[past.taken - 1]) if past.taken else "nothing"
        return PowerCut(into, past.taken, seed, after, list(past.notes))


def _content(path: Path) -> bytes:
    """All of a file, read past the watch."""
    with REAL_OPEN(path, "rb") as file:
        data: bytes = file.read()
    return data
