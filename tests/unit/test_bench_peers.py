"""The table beside the peers says what the samples say: who is best, which rounds count, what is reached."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from standing import (
    AHEAD,
    DECODER,
    OURS,
    RAW,
    RECORDS,
    TASKS,
    Question,
    answer,
    best_peer,
    latency,
    left_out,
    memory,
    pairs,
    rows,
    with_raw_loop,
)


def rounds(*rates: float | None) -> list[dict[str, float]]:
    """A sample a round; None where the side failed in that round."""
    return [{"round": number, "per_s": rate} for number, rate in enumerate(rates) if rate is not None]


def test_only_rounds_that_both_ran_are_compared() -> None:
    samples = {OURS: {"w": rounds(10, 20, None, 40)}, "them": {"w": rounds(5, None, 1, 10)}}
    both = pairs(samples, "w", OURS, "them")
    assert both.ours == [10, 40]
    assert both.theirs == [5, 10]
    assert both.ratios == [2, 4]


def test_the_best_peer_has_the_highest_median_and_is_a_peer() -> None:
    samples = {
        OURS: {"w": rounds(1, 1, 1)},
        "one good day": {"w": rounds(1, 1, 99)},
        "steady": {"w": rounds(3, 3, 3)},
        "other work": {"v": rounds(50, 50, 50)},
        "never beside us": {"w": [{"round": 9, "per_s": 70}]},
        "sqlite-normal": {"w": rounds(80, 80, 80)},
        "floor": {"w": rounds(90, 90, 90)},
        RAW: {"w": rounds(90, 90, 90)},
        TASKS: {"w": rounds(90, 90, 90)},
        AHEAD: {"w": rounds(90, 90, 90)},
    }
    assert best_peer(samples, "w") == "steady"
    assert best_peer(samples, "nothing") is None


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_that_of_the_medians() -> None:
    # The machine was half as fast in the second round and a tenth in the third, for both.
    samples = {OURS: {"w": rounds(200, 100, 30)}, "them": {"w": rounds(100, 50, 10)}}
    row = answer(samples, Question(text="w", work="w", goal=2))
    assert row.ratio == "2.00 (2.00 - 3.00)"
    assert row.rival == "them: 50 /s"
    assert row.reached is True
    assert answer(samples, Question(text="w", work="w", goal=2.01)).reached is False
    assert answer(samples, Question(text="w", work="w")).reached is None


def test_a_row_is_about_the_peer_that_its_goal_names() -> None:
    samples = {OURS: {"w": rounds(10)}, "best": {"w": rounds(20)}, "named": {"w": rounds(5)}}
    assert answer(samples, Question(text="w", work="w", rival="named", goal=1.4)).ratio == "2.00"
    assert answer(samples, Question(text="w", work="w")).ratio == "0.50"


def test_what_did_not_run_is_said_and_never_counts_as_reached() -> None:
    samples = {OURS: {"w": rounds(10)}}
    named = answer(samples, Question(text="w", work="w", rival="okaywal", goal=1))
    assert "okaywal did not run" in named.rival
    assert named.reached is None
    assert "no peer" in answer(samples, Question(text="w", work="w", goal=1)).rival


def test_the_raw_loop_ran_before_and_after_each_commit_run_and_is_a_side_of_its_own() -> None:
    samples = with_raw_loop({OURS: {"w2-32": [{"round": 4, "per_s": 90, "vs_append": 0.9}], "w1-32": rounds(7)}})
    assert samples[RAW] == {"w2-32": [{"round": 4, "per_s": 100}]}
    assert with_raw_loop({}) == {}


def test_memory_is_what_the_load_added_and_the_least_of_the_peers_stands_beside_it() -> None:
    def added(*megabytes: float) -> dict[str, list[dict[str, float]]]:
        return {"w1-256": [{"round": number, "rss_added_mb": mb} for number, mb in enumerate(megabytes)]}

    row = memory({OURS: added(7, 9, 7.5), "big": added(100), "small": added(2), "sqlite-normal": added(1)})
    assert (row.walcore, row.rival, row.reached) == ("7.5 MB", "small: 2.0 MB", True)
    assert memory({OURS: added(8)}).reached is False
    assert memory({}).rival == "not measured"


def test_the_slowest_commits_are_held_to_the_time_of_a_sync() -> None:
    def took(*microseconds: float) -> dict[str, list[dict[str, float]]]:
        return {"w3x64": [{"round": number, "p99_us": one} for number, one in enumerate(microseconds)]}

    raw = {RAW: {"w2-256": rounds(4000, 5000, 9000)}}
    row = latency({OURS: took(900, 3000, 950), "quick": took(800), "slow": took(5000)} | raw)
    assert (row.walcore, row.rival, row.goal, row.reached) == ("0.9 ms", "quick: 0.8 ms", "< 1 ms", True)
    assert latency({OURS: took(1100)} | raw).reached is False
    assert latency({OURS: took(1100)}).reached is None
    assert latency({}).rival == "not measured"


def test_every_question_has_its_row_whether_it_ran_or_not() -> None:
    empty = [line for part in rows({}, {}) for line in part]
    assert len(empty) == 19
    assert all("not measured" in line.rival for line in empty)
    harness = {OURS: {"w1-32": rounds(30)}, "lmdb": {"w1-32": rounds(10)}}
    clients = {TASKS: {"clients-64": rounds(50)}, "etcd": {"clients-64": rounds(100)}}
    read = {RECORDS: {"reading": rounds(9)}, DECODER: {"reading": rounds(6)}}
    measured = {line.question: line.ratio for part in rows(harness, clients, read) for line in part if line.ratio}
    assert measured == {
        "append, 32 B": "3.00",
        "commit each record, 64 asyncio tasks": "0.50",
        "read back as Record objects, 32 B": "1.50",
    }


def test_a_language_is_left_out_when_none_of_its_peers_ran() -> None:
    assert left_out({"etcd": {}, "lmdb": {"w": rounds(1)}}, {"Go": ("etcd",), "Python": ("lmdb", "plyvel")}) == ["Go"]
