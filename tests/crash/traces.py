"""Recording stories, and the directories that a power cut at any moment of them could leave.

The tool of the shared folder does the work: it traces a program's system calls, and knows what a strict file system and
ext4 may have on disk after each.  Here many stories are traced at one go, each in a folder and a process of its own,
and walked through one by one.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import foreign

MODELS: Final = ("strict", "ext4")
PLAYER: Final = Path(__file__).with_name("player.py")
Tree = dict[str, tuple[str, bytes, bytes]]
"""Path to kind, digest and content."""
KINDS_OF_A_POINT: Final = 60
"""After each change that many of the tool's states are asked for at most; the first seven are the plain ones."""
ENOUGH_OF_THE_SAME: Final = 12


def tool() -> ModuleType:
    """The shared folder's tool."""
    return foreign.program("crashstates")


@dataclass(frozen=True)
class Story:
    """What is to be played; `start` is what the disk holds at its beginning, promised by `acks`, logged by `subs`."""

    policy: str
    steps: str
    first_id: int = 1
    start: Tree = field(default_factory=dict)
    acks: tuple[str, ...] = ()
    subs: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """One directory that a power cut could leave; `acks` and `subs` are the lines that were out by then."""

    id: str
    event: str
    how: str
    tree: Tree
    of_tree: bytes
    key: bytes
    """What tells it from others: tree and promises; `of_tree` the tree alone."""
    acks: tuple[str, ...]
    subs: tuple[str, ...]


class Recording:
    """One story as it was played: `states` tells what the disk might have held."""

    def __init__(self, story: Story, before: Path, root: Path, calls: list[Any], parents: dict[int, Any]) -> None:
        self.story, self._before = story, before
        meta = {"root": str(root), "cwd": str(root), "pre_acks": list(story.acks)}
        self._loaded = (meta, calls, parents, tool().steps(calls))
        model = self._model("strict", 0)
        self.events = [event for _, event in tool().walk(model, self._loaded[3])]
        # Between two promises in a row nothing changes on disk: the last one asks most.
        following = [*self.events[1:], ""]
        self.points = [point for point, event in enumerate(following) if not event.startswith("promise")]
        self.promises = len(model.acks) - len(story.acks)
        self.complain(model, root)

    def complain(self, model: Any, root: Path) -> None:
        """The model of the disk must have come to what the real disk holds."""
        real = {str(path.relative_to(root)): path for path in root.rglob("*")}
        content = {name: None if path.is_dir() else path.read_bytes() for name, path in real.items()}
        modelled = {name: data for name, (_, data) in model.live_tree().items()}
        odd = [name for name in content.keys() | modelled.keys() if content.get(name, 0) != modelled.get(name, 0)]
        assert not odd, f"the model of the disk differs from it in {odd}: {self.story.steps}"
        assert not model.unsupported, f"the model of the disk doesn't know {model.unsupported}: {self.story.steps}"

    def _model(self, kind: str, seed: int) -> Any:
        options = SimpleNamespace(
            work=str(self._before), model=kind, seed=seed, zero_tails=kind == "strict", fsync_error="lost", ack_fd={1},
            ack_re=re.compile(r"(ACK|PURGE|PURGED)\b"), sub_re=re.compile(r"SUB\b"),
        )  # fmt: skip
        model = tool().fresh(options, self._loaded)
        model.subs = list(self.story.subs)
        return model

    def walk(self, kind: str, seed: int, known: set[bytes]) -> Iterator[Iterator[State]]:
        """For each point where the power could fail the states that this could leave, the plain ones first.

        A story that begins like one before leaves the same states: a point whose past is `known` is passed over.
        """
        model = self._model(kind, seed)
        wanted = set(self.points)
        past = hashlib.blake2b(f"{kind} {seed} {tree_key(self.story.start).hex()}".encode(), digest_size=8)
        told = 0
        for point, event in tool().walk(model, self._loaded[3]):
            past.update("\n".join([event, str(model.pending()), *model.subs[told:], ""]).encode())
            told = len(model.subs)
            if point in wanted and past.digest() not in known:
                known.add(past.digest())
                promised = hashlib.blake2b("\n".join(model.acks).encode(), digest_size=8).digest()
                yield self._at(model, f"{kind}.{seed}.{point}", event, promised)

    def _at(self, model: Any, name: str, event: str, promised: bytes) -> Iterator[State]:
        point, acks, subs = int(name.rsplit(".", 1)[1]), tuple(model.acks), tuple(model.subs)
        for k in range(1 if model.pending() == (0, 0) else KINDS_OF_A_POINT):
            tree, how = model.state(point, k)
            of_tree = tree_key(tree)
            yield State(f"{name}.{k}", event, how, tree, of_tree, of_tree + promised, acks, subs)

    def sample(self, kind: str, seed: int, count: int, seen: set[bytes]) -> Iterator[State]:
        """That many states not `seen` yet, no more and no fewer, spread evenly over the story."""
        got = 0
        for turn in range(seed, seed + 50):
            dice, wanted = random.Random(turn), count - got
            for number, states in enumerate(self.walk(kind, turn, set()), 1):
                due = count - wanted + -(-wanted * number // len(self.points))
                for state in itertools.islice(states, dice.randrange(KINDS_OF_A_POINT // 2), None) if got < due else ():
                    if state.key not in seen:
                        seen.add(state.key)
                        got += 1
                        yield state
                    if got == due:
                        break
            if got == count:
                return
        raise AssertionError(f"only {got} of {count} states: {self.story.steps}")

    def every(self, kind: str, seed: int, each: int, seen: set[bytes], known: set[bytes]) -> Iterator[State]:
        """At every point up to `each` of the tool's states that were not `seen` yet."""
        for states in self.walk(kind, seed, known):
            same = 0
            for state in itertools.islice(states, each):
                same = same + 1 if state.key in seen else 0
                if not same:
                    seen.add(state.key)
                    yield state
                if same == ENOUGH_OF_THE_SAME:
                    break


def tree_key(tree: Tree) -> bytes:
    """What tells trees apart; who holds the lock is no part of it."""
    seen = hashlib.blake2b(digest_size=8)
    for path in sorted(tree):
        kind, digest, _ = tree[path]
        seen.update(f"{path}\0{kind}\0".encode())
        if not path.endswith("/lock"):
            seen.update(digest)
    return seen.digest()


def record(stories: Sequence[Story], work: Path, *faults: str) -> list[Recording]:
    """Play the stories, one after another under one trace, below `work`; `faults` are strace's injections."""
    disk, arguments = work / "disk", list[str]()
    for number, story in enumerate(stories):
        before = work / "before" / str(number)
        write(story.start, before / "init")
        shutil.copytree(before / "init", disk / str(number))
        directory = str(disk / str(number) / "wal")
        arguments += [",", directory, story.policy, str(story.first_id), *story.steps.split()]
    order = SimpleNamespace(
        dir=str(disk), work=str(work / "trace"), command=[sys.executable, str(PLAYER), *arguments], inject=list(faults),
        init=None, pre_acks=None, no_seccomp=False, allow_exit=False, run_timeout=600,
    )  # fmt: skip
    try:
        tool().record(order)
    except SystemExit as end:
        wrong = (work / "trace" / "stderr.txt").read_text()
        raise RuntimeError(f"a story in {work} was not told to its end: {wrong}") from end
    calls, parents = tool().parse_trace(str(work / "trace" / "trace.txt"))
    told = _by_story(calls, parents)
    assert len(told) == len(stories), f"{len(told)} of {len(stories)} stories were traced"
    return [
        Recording(story, work / "before" / str(number), disk / str(number), told[number], parents)
        for number, story in enumerate(stories)
    ]


def _by_story(calls: list[Any], parents: dict[int, Any]) -> list[list[Any]]:
    """The calls of each child of the first process, its own children's and threads' included."""
    first = calls[0].pid
    told: dict[int, list[Any]] = {
        pid: [] for pid, (parent, flags) in parents.items() if parent == first and "CLONE_THREAD" not in flags
    }
    for call in calls:
        pid = call.pid
        while pid != first and pid not in told:
            pid = parents[pid][0]
        if pid in told:
            told[pid].append(call)
    return list(told.values())


def write(tree: Tree, folder: Path) -> None:
    """Write that tree into a folder, which it makes."""
    folder.mkdir(parents=True)
    for path in sorted(tree):
        kind, _, data = tree[path]
        if kind == "d":
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
