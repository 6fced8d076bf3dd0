"""A picture of a job's time by the number of tokens that its prompts share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # files alone: no screen is needed

from matplotlib import pyplot as plt


def draw_shared(times: Mapping[int, tuple[float, float]], title: str, path: Path) -> None:
    """Draw one line without the prefix cache and one with it.

    Args:
        times: Seconds without the cache and with it, by the number of shared tokens.
        title: The picture's title.
        path: The picture's file.
    """
    lengths = sorted(times)
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 150})
    _, axes = plt.subplots(figsize=(6, 3.2))
    axes.plot(lengths, [times[length][0] for length in lengths], "o-", color="#b8c4ce", label="without the cache")
    axes.plot(lengths, [times[length][1] for length in lengths], "o-", color="#1b6ca8", label="with the cache")
    for length in lengths:
        without, cached = times[length]
        axes.annotate(f"{without / cached:.1f}x", (length, without), (0, 5), textcoords="offset points", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel("tokens that all prompts begin with")
    axes.set_ylabel("seconds")
    axes.set_ylim(bottom=0)
    axes.margins(y=0.15)
    axes.legend(frameon=False)
    plt.savefig(path, bbox_inches="tight")
    plt.close("all")
