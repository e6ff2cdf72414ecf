"""Recovery against a model in plain Python: ids come again, LSNs fall, bytes are damaged."""

from __future__ import annotations

import logs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walcore import recovery, spill
from walcore.errors import CorruptionError
from walcore.reader import Pass, ReadMode
from walcore.recovery import MIN_MEMORY, Conflict, recover

ROW = st.tuples(st.integers(1, 40), st.integers(1, 6), st.sampled_from(["a", "b", "c"]))


@st.composite
def directories(draw: st.DrawFn, tmp_path_factory: pytest.TempPathFactory) -> logs.Path:
    """A log of one to five segments, plain or sealed; perhaps with damage in one, perhaps without its header."""
    directory = tmp_path_factory.mktemp("log")
    for number in range(1, draw(st.integers(1, 5)) + 1):
        records = [logs.record(*row) for row in draw(st.lists(ROW, max_size=8))]
        content = logs.plain(records, number)
        name, lasts = f"wal-{number}.v1", [0, *(one.id for one in records)]
        if draw(st.booleans()):
            name, content = f"{name}.gz", logs.sealed(content, max(lasts))
        if draw(st.integers(0, 3)) == 0:
            at = draw(st.integers(0, len(content) - 1))
            content = content[:at] + draw(st.binary(max_size=8)) + content[at + draw(st.integers(0, 30)) :]
        logs.write(directory, name, content)
    return directory


def merge(
    records: dict[int, logs.Record], batch: dict[int, logs.Record], policy: str, conflicts: list[Conflict]
) -> dict[int, logs.Record]:
    """What `batch`, of the later segment, makes of `records`."""
    for new in batch.values():
        settle(records, new, policy, conflicts, newer=True)
    return records


def settle(
    records: dict[int, logs.Record],
    new: logs.Record,
    policy: str,
    conflicts: list[Conflict],
    *,
    newer: bool | None = None,
) -> None:
    old = records.setdefault(new.id, new)
    if old is new:
        return
    later = new.lsn >= old.lsn if newer is None else newer
    kept, dropped = (new, old) if later and policy == "last" else (old, new)
    records[new.id] = kept
    if (old.kind, old.lexical, old.datatype, old.language) != (new.kind, new.lexical, new.datatype, new.language):
        conflicts.append(Conflict(new.id, kept, dropped))


def model(directory: logs.Path, policy: str, mode: ReadMode) -> tuple[dict[int, logs.Record], list[Conflict], object]:
    """The dictionary, each segment's first and then these one behind another, as the words of `recover` have it."""
    current = Pass(directory, mode)
    records: dict[int, logs.Record] = {}
    segment: dict[int, logs.Record] = {}
    conflicts: list[Conflict] = []
    last = -1
    for place, batch in current.batches():
        if place != last:
            merge(records, segment, policy, conflicts)
            segment, last = {}, place
        for record in batch:
            settle(segment, record, policy, conflicts)
    return merge(records, segment, policy, conflicts), conflicts, current.report()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_recovery_is_what_the_model_has(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = data.draw(directories(tmp_path_factory))
    policy, mode = data.draw(st.sampled_from(["last", "first"])), data.draw(st.sampled_from(ReadMode))
    try:
        expected = model(directory, policy, mode)
    except CorruptionError as error:
        with pytest.raises(CorruptionError) as caught:
            recover(directory, mode=mode, on_conflict=policy, allow_incomplete=True)
        assert str(caught.value) == str(error)
        return
    found = recover(directory, mode=mode, on_conflict=policy, allow_incomplete=True)
    assert (found.records, list(found.conflicts), found.report) == expected
    assert list(found.records) == list(expected[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "weigh", lambda batch: len(batch) * MIN_MEMORY // data.draw(st.integers(1, 12)))
        patch.setattr(spill, "BLOCK", data.draw(st.sampled_from([1, 1000, 5000])))
        bounded = recover(directory, mode=mode, on_conflict=policy, allow_incomplete=True, max_memory=MIN_MEMORY)
    assert list(bounded.records.items()) == sorted(expected[0].items())
    assert {two.id for two in bounded.conflicts} == {two.id for two in expected[1]}
    assert bounded.report == expected[2]
    if expected[1]:
        with pytest.raises(CorruptionError, match=f"id {expected[1][0].id} two values"):
            recover(directory, mode=mode, on_conflict="error", allow_incomplete=True)
