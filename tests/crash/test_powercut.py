"""Whatever a power cut leaves, nothing promised is lost, nothing is invented, and the log goes on.

The states come from a tool of the shared folder that records a program's system calls and works out what the disk may
hold if the power had failed at any moment, on a strict file system and on ext4.  `witness.py` looks at each; there are
more than five thousand here, and `powercut.py` goes on for as long as it is asked to.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace

import powercut
import pytest
import scratch
import stories
import traces
import witness
from traces import Story

EACH = 56
"""States of each story under each policy on each file system: 15 x 3 x 2 x 56 are 5,040, all different."""
STARTS, OF_A_START = 10, 10
SEQUENCES = 100


@pytest.fixture(scope="module")
def hunt(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[powercut.Hunt]:
    if not (shared / "crashstates").exists():
        pytest.skip(f"{shared / 'crashstates'} is not there")
    if shutil.which("strace") is None:
        pytest.skip("strace, which records the system calls, is not installed")
    # Repairs are warned of by the thousand, and each warning would be kept for the report.
    logging.getLogger("walcore").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="walcore-", dir=scratch.memory()) as folder:
        hunt = powercut.Hunt(Path(folder), tmp_path_factory.mktemp("failed"))
        yield hunt
    logging.getLogger("walcore").setLevel(logging.NOTSET)
    print(f"power cuts: {json.dumps(hunt.figures)}")


def found(hunt: powercut.Hunt, before: int = 0) -> int:
    """How many states were looked at since there were `before`; none may have failed."""
    assert hunt.figures["failures"] == 0, f"see {hunt.failures}"
    return hunt.figures["states"] - before


@pytest.mark.parametrize("policy", stories.POLICIES)
def test_nothing_promised_is_lost_by_a_power_cut(hunt: powercut.Hunt, policy: str) -> None:
    before = hunt.figures["states"]
    first_id = 1 + 300 * stories.POLICIES.index(policy)  # or two policies would often leave the same
    for recording in hunt.record([Story(policy, steps, first_id) for steps in stories.TOLD.values()]):
        for model in traces.MODELS:
            hunt.judge(recording.story, recording.sample(model, 1, EACH, hunt.seen))
    assert found(hunt, before) == len(stories.TOLD) * len(traces.MODELS) * EACH


def test_nothing_promised_is_lost_by_a_power_cut_while_opening_repairs_an_earlier_one(hunt: powercut.Hunt) -> None:
    before = hunt.figures["states"]
    told = [Story(policy, stories.TOLD["threads, rotation, purge"]) for policy in stories.POLICIES]
    for number, recording in enumerate(hunt.record(powercut.second_stories(hunt, told, seed=1, starts=STARTS))):
        model = traces.MODELS[number % 2]
        hunt.judge(recording.story, recording.sample(model, 1, OF_A_START * 2, hunt.seen))
    assert found(hunt, before) == STARTS * OF_A_START * 2


def test_no_short_sequence_of_operations_has_a_moment_at_which_the_power_must_not_fail(hunt: powercut.Hunt) -> None:
    steps = [stories.steps_of(sequence) for sequence in islice(stories.sequences(), 0, None, 2800 // SEQUENCES)]
    told = [Story(policy, each) for each, policy in zip(steps, cycle(stories.POLICIES), strict=False)]
    recordings = hunt.record(told)
    assert len(recordings) == SEQUENCES
    for number, recording in enumerate(recordings):
        hunt.judge(recording.story, recording.every(traces.MODELS[number % 2], 1, 7, hunt.seen, hunt.known))
    found(hunt)


def test_all_short_sequences_are_there() -> None:
    assert len(list(stories.sequences())) == len(set(stories.sequences())) == 7 + 7**2 + 7**3 + 7**4
    assert len(stories.short_stories()) == len(set(stories.short_stories())) == 2374
    assert stories.steps_of(["append", "open", "close", "purge"]) == "open append:4 crash open close open purge"


@pytest.mark.parametrize(("lsns", "torn_off", "wrong"), [([1, 7, 8], {6}, False), ([1, 7, 8], {5}, True),
                                                        ([1, 3], set(), True), ([7, 8], set(), False)])  # fmt: skip
def test_a_hole_is_wrong_unless_an_opening_tore_it_off(lsns: list[int], torn_off: set[int], wrong: bool) -> None:
    seen = SimpleNamespace(records=[(lsn,) for lsn in lsns], segments=(), problems=())
    assert (witness._as_left(seen, torn_off) is not None) is wrong


def test_what_is_in_quarantine_tells_its_lsn_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "quarantine").mkdir()
    for name in ("wal-1.v1.369-1536.lsn6", "wal-1.v1.9-20.lsn12.1", "wal-2.v1.0-0.lsn0"):
        (tmp_path / "quarantine" / name).touch()
    assert witness.in_quarantine(tmp_path) == {0, 6, 12}
    assert witness.in_quarantine(tmp_path / "quarantine") == set()


def test_a_disk_that_calls_lost_data_synced_is_found_out(hunt: powercut.Hunt, tmp_path: Path) -> None:
    """The witnesses see what is lost: here each fdatasync says that it was done, and never was."""
    liar = powercut.Hunt(tmp_path, tmp_path / "failed")
    for recording in liar.record([Story("COMMIT", "append:3 promise append:3 promise")], "fdatasync:retval=0"):
        liar.judge(recording.story, recording.every("strict", 1, 7, liar.seen, liar.known))
    assert liar.figures["failures"] > liar.figures["states"] // 4
    wrong = {path.parent: json.loads(path.read_text())["wrong"] for path in (tmp_path / "failed").rglob("told.json")}
    assert any("promised LSN" in each for each in wrong.values())
    folder = tmp_path / "failed" / "1"
    assert powercut.replay(folder) == wrong[folder]
