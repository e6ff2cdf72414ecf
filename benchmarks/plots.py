"""plots.py [--peers FILE] [--growth FILE] --to FOLDER: pictures of what peers.py and growth.py wrote by --out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from standing import OURS, TASKS

# In a fixed order, so that a side keeps its colour.
SIDES: Final = {OURS: "walcore, threads", TASKS: TASKS, "plyvel": "plyvel (LevelDB), threads"}
SIDES |= {"etcd": "etcd wal (Go), goroutines", "okaywal": "okaywal (Rust), threads"}
COSTS: Final = {
    "append_ns": ("append a record of 256 B", 1e-3),
    "commit_us": ("commit of one client", 1),
    "open_ms": ("open and close it", 1e3),
    "find_ms": ("find an id in a sealed segment", 1e3),
}


def save(axes: Axes, meta: dict[str, Any], stem: Path) -> None:
    """As PNG and as SVG, with the day and the machine under it."""
    figure = axes.figure
    where = f"{meta['date'][:10]}, {meta['cores']} cores, {meta['fs']}; the machine was shared with other work"
    figure.text(0.99, 0.01, where, ha="right", va="bottom", fontsize=8, color="0.4")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    for kind in ("png", "svg"):
        figure.savefig(stem.with_suffix(f".{kind}"), metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)


def commits_by_clients(found: dict[str, Any], stem: Path) -> None:
    """Medians of the rounds, and from the lowest to the highest of them."""
    _, axes = plt.subplots(figsize=(8, 5), dpi=100)
    for side, label in SIDES.items():
        works = {int(work.removeprefix("clients-")): rounds for work, rounds in found["clients"].get(side, {}).items()}
        if not works:
            continue
        rates = {clients: [one["per_s"] for one in works[clients]] for clients in sorted(works)}
        middle = list(map(median, rates.values()))
        (line,) = axes.plot(list(rates), middle, marker="o", markersize=4, label=label)
        low, high = (list(map(pick, rates.values())) for pick in (min, max))
        axes.fill_between(list(rates), low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    ticks = sorted({int(work.removeprefix("clients-")) for works in found["clients"].values() for work in works})
    axes.set(
        xscale="log", yscale="log", xlabel="clients, each waiting for its own commit", ylabel="durable commits / s"
    )
    axes.set_xticks(ticks, labels=map(str, ticks), minor=False)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    rounds = found["meta"]["client_rounds"]
    axes.set_title(f"Durable commits of a 256 B value: median of {rounds} rounds in turns, lowest to highest shaded")
    axes.title.set_fontsize(10)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    save(axes, found["meta"], stem)


def cost_by_size(found: dict[str, Any], stem: Path) -> None:
    """What works on the end of a log, or by an index, against the bytes before."""
    _, axes = plt.subplots(figsize=(8, 5), dpi=100)
    sizes = [row["log_mb"] for row in found["log"]]
    for name, (label, factor) in COSTS.items():
        axes.plot(sizes, [row[name] * factor for row in found["log"]], marker="o", markersize=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="size of the log (MB of frames)", ylabel="time (us)")
    axes.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,g}"))
    axes.set_title("What an operation costs, by the size of the log: medians", fontsize=10)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    save(axes, found["meta"], stem)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="what peers.py --out wrote")
    parser.add_argument("--growth", type=Path, help="what growth.py --out wrote")
    parser.add_argument("--to", type=Path, default=Path(), help="a folder")
    arguments = parser.parse_args()
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "walcore"
    arguments.to.mkdir(parents=True, exist_ok=True)
    for file, draw, name in [
        (arguments.peers, commits_by_clients, "commits-by-clients"),
        (arguments.growth, cost_by_size, "cost-by-size"),
    ]:
        if file:
            draw(json.loads(file.read_text()), arguments.to / name)


if __name__ == "__main__":
    main()
