"""Power cuts by the hundred thousand: every state that is new is looked at, and judged; what was reached is added up.

    python powercut.py --state-file FILE [--states 1000000] [--minutes 110]
    python powercut.py --replay FOLDER

The first form goes on where the file says that the last call stopped, and prints the sum of all calls as one line of
JSON; the second judges one failed state again.  The work comes in units that follow from their number alone.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))
import scratch
import stories
import traces
import witness
from traces import Recording, State, Story

BATCH: Final = 240
"""Short stories traced at one go: starting a trace takes as long as a dozen of them."""
PATIENCE: Final = 60
"""Seconds after which a state that is still being looked at hangs."""
RECOVERIES: Final = (
    "append:1 close",
    "open append:2 promise",
    "append:5 flush crash append:1",
    "purge append:1 promise",
    "append:14 rotate close",
)
PAST: Final = "append:13 promise seal append:3 promise append:2 flush"


class Hunt:
    """All states looked at so far; `seen` is what tells them apart, `known` the pasts that led to them.

    It works below `work`, and keeps what `--replay` needs of each failed state below `failures`.
    """

    def __init__(self, work: Path, failures: Path) -> None:
        self.seen: set[bytes] = set()
        self.known: set[bytes] = set()
        self.figures: Counter[str] = Counter()
        self.work, self.failures = work, failures
        self._scratch = traces.tool().Scratch(str(work / "state"))
        signal.signal(signal.SIGALRM, _give_up)

    def record(self, told: list[Story], *faults: str) -> list[Recording]:
        """Play the stories under these faults, and add up; this ends the recordings of the last call."""
        folder = self.work / "stories"
        shutil.rmtree(folder, ignore_errors=True)
        recordings = traces.record(told, folder, *faults)
        for recording in recordings:
            made = {"stories": 1, "points": len(recording.points), "promises": recording.promises}
            self.figures.update(made | {f"stories {recording.story.policy}": 1})
        return recordings

    def judge(self, story: Story, states: Iterable[State]) -> None:
        """Look at every state, once for each tree, and hold what was promised against it."""
        sights: dict[bytes, witness.Sight] = {}
        promises, of = witness.Promises((), ()), None
        for state in states:
            if of is not state.subs:
                promises, of = witness.Promises(state.acks, state.subs), state.subs
            if state.of_tree not in sights:
                sights[state.of_tree] = self._look(state)
            wrong = promises.judge_all(sights[state.of_tree])
            self.figures.update(["states", f"states {state.id.split('.')[0]}", f"states {story.policy}"])
            if wrong:
                self._keep(story, state, wrong)
        self.figures["directories"] += len(sights)

    def _look(self, state: State) -> witness.Sight:
        self._scratch.put(state.tree)
        return look(Path(self._scratch.path) / "wal", before_too=state.of_tree[0] % 4 == 0)

    def _keep(self, story: Story, state: State, wrong: str) -> None:
        """Write down what `--replay` needs."""
        self.figures["failures"] += 1
        folder = self.failures / f"{self.figures['failures']}"
        traces.write(state.tree, folder / "state")
        told = {"wrong": wrong, "id": state.id, "event": state.event, "how": state.how, "policy": story.policy,
                "steps": story.steps, "first_id": story.first_id, "acks": state.acks, "subs": state.subs}  # fmt: skip
        (folder / "told.json").write_text(json.dumps(told, indent=1))
        print(f"FAILED {story.policy} {story.steps} {state.id}: {wrong}", flush=True)
        print(f"  python {__file__} --replay {folder}", flush=True)


def _give_up(*_: Any) -> None:
    raise TimeoutError(f"still busy after {PATIENCE} s")


def look(directory: Path, *, before_too: bool = True) -> witness.Sight:
    """What the witnesses see; whatever ends their looking is a failure of the state."""
    signal.alarm(PATIENCE)
    try:
        return witness.look(directory, before_too=before_too)
    except Exception as error:
        return witness.Sight(f"{type(error).__name__}: {error}", {}, frozenset(), {}, 0)
    finally:
        signal.alarm(0)


def replay(folder: Path) -> str | None:
    """Judge a state that was kept, in a copy of its own."""
    told = json.loads((folder / "told.json").read_text())
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder / "state", Path(copy) / "state")
        return witness.Promises(told["acks"], told["subs"]).judge_all(look(Path(copy) / "state" / "wal"))


# ------------------------------------------------------------------------------------------------ units
def units() -> Iterator[tuple[str, int]]:
    """The kinds of work in the order that it is done in, for ever; the short stories come by turns with the others."""
    batches = -(-len(stories.short_stories()) * len(stories.POLICIES) // BATCH)
    yield "told", 0
    for turn in itertools.count(1):
        short = "short" if turn <= batches else "short with a past"
        yield from (("invented", turn), (short, (turn - 1) % batches), ("again", turn))
        if turn % 5 == 0:
            yield "told", turn


def do(hunt: Hunt, kind: str, number: int) -> None:
    """One unit."""
    first_id = 1 + number % 80 * 10_000_000
    if kind == "told":
        told = [Story(policy, steps, first_id) for steps in stories.TOLD.values() for policy in stories.POLICIES]
        every(hunt, told, number, each=traces.KINDS_OF_A_POINT)
    elif kind == "invented":
        told = [Story(policy, steps, first_id) for steps, policy in turns(stories.invented(number, 40))]
        every(hunt, told, number, each=traces.KINDS_OF_A_POINT)
    elif kind == "again":
        again(hunt, number, first_id)
    else:
        every(hunt, short(hunt, number, past=kind != "short"), number, each=14)
    hunt.figures[f"units {kind}"] += 1


def every(hunt: Hunt, told: list[Story], seed: int, each: int) -> None:
    """Record stories, and look at all their states, in both models of the disk, each of which begins by turns."""
    for turn, recording in enumerate(hunt.record(told)):
        for model in traces.MODELS[:: (-1) ** turn]:
            hunt.judge(recording.story, recording.every(model, seed, each, hunt.seen, hunt.known))


def short(hunt: Hunt, number: int, *, past: bool) -> list[Story]:
    """One batch of the short stories, on no log at all or on one that a process left when it was killed."""
    pairs = itertools.product(stories.short_stories(), stories.POLICIES)
    batch = list(itertools.islice(pairs, number * BATCH, (number + 1) * BATCH))
    if not past:
        return [Story(policy, steps) for steps, policy in batch]
    (left,) = hunt.record([Story("COMMIT", PAST, first_id=10_000_001)])
    *_, last = (next(states) for states in left.walk("strict", 0, set()))
    return [Story(policy, steps, 1, last.tree, last.acks, last.subs) for steps, policy in batch]


def again(hunt: Hunt, seed: int, first_id: int) -> None:
    """States of states: what one power cut left is opened and repaired, and the power fails again."""
    told = [Story(policy, steps, first_id) for steps, policy in turns(stories.invented(-seed, 10))]
    second, before = second_stories(hunt, told, seed, 90), hunt.figures["states"]
    every(hunt, second, seed, each=7)
    hunt.figures["states of states"] += hunt.figures["states"] - before


def second_stories(hunt: Hunt, told: list[Story], seed: int, starts: int) -> list[Story]:
    """Stories that begin with what a power cut left of those."""
    left = [
        (recording.story, state)
        for recording in hunt.record(told)
        for model in traces.MODELS
        for state in recording.sample(model, seed, -(-starts // len(told) // 2), set())
    ]
    return [
        Story(story.policy, steps, story.first_id + 5_000_000, state.tree, state.acks, state.subs)
        for (story, state), steps in zip(left[:starts], itertools.cycle(RECOVERIES), strict=False)
    ]


def turns(steps: list[str]) -> Iterator[tuple[str, str]]:
    """Each with one of the policies by turns."""
    return zip(steps, itertools.cycle(stories.POLICIES), strict=False)


# ------------------------------------------------------------------------------------------------ adding up
def load(hunt: Hunt, file: Path) -> None:
    """Go on where the last whole unit ended."""
    if file.exists():
        hunt.figures = Counter(json.loads(file.read_text()))
        keys = file.with_suffix(".seen").read_bytes()[: 16 * hunt.figures["states"]]
        hunt.seen = {keys[at : at + 16] for at in range(0, len(keys), 16)}
        assert len(hunt.seen) == hunt.figures["states"], f"{file} and its .seen don't belong together"


def save(hunt: Hunt, file: Path, new: set[bytes]) -> None:
    with file.with_suffix(".seen").open("r+b" if file.exists() else "wb") as keys:
        keys.seek(16 * (hunt.figures["states"] - len(new)))
        keys.write(b"".join(new))
    aside = file.with_suffix(".aside")
    aside.write_text(json.dumps(hunt.figures))
    aside.replace(file)


def run(hunt: Hunt, file: Path, states: int, minutes: float) -> None:
    """Units until there are that many states, or that much time is up."""
    load(hunt, file)
    begun = time.monotonic()
    done = sum(count for name, count in hunt.figures.items() if name.startswith("units "))
    for kind, number in itertools.islice(units(), done, None):
        if hunt.figures["states"] >= states or time.monotonic() - begun > minutes * 60:
            break
        old, unit_begun = set(hunt.seen), time.monotonic()
        do(hunt, kind, number)
        hunt.figures["seconds"] += round(time.monotonic() - unit_begun)
        save(hunt, file, hunt.seen - old)
        print(f"{time.strftime('%H:%M:%S')} {kind} {number}: {json.dumps(hunt.figures)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Power cuts by the hundred thousand.")
    parser.add_argument("--states", type=int, default=1_000_000, help="stop after that many different ones in all")
    parser.add_argument("--minutes", type=float, default=110, help="and after that time, to be gone on with")
    parser.add_argument("--state-file", type=Path, help="sums and what was seen; gone on with where it exists")
    parser.add_argument("--replay", type=Path, metavar="FOLDER", help="judge a failed state once more")
    asked = parser.parse_args()
    if asked.replay:
        print(wrong := replay(asked.replay))
        return wrong is not None
    if "WALCORE_SHARED" not in os.environ:
        parser.error("WALCORE_SHARED is not set: the tool that records system calls lies in the folder that it names")
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="walcore-", dir=scratch.memory()) as folder:
        file = asked.state_file or Path(tempfile.mkdtemp()) / "powercut"
        hunt = Hunt(Path(folder), file.with_suffix(".failures"))
        run(hunt, file, asked.states, asked.minutes)
    print(json.dumps(hunt.figures))
    return hunt.figures["failures"] > 0


if __name__ == "__main__":
    sys.exit(main())
