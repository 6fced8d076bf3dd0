"""Where the time of a decode step goes, as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # files alone: no screen is needed

from matplotlib import pyplot as plt


def draw_step(parts: dict[str, float], sequences: int, path: Path) -> None:
    """A bar a part, the longest first, with its milliseconds and its share."""
    whole = sum(parts.values())
    ordered = sorted(parts.items(), key=lambda part: part[1])
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 150})
    _, axes = plt.subplots(figsize=(7, 0.8 + 0.32 * len(ordered)))
    bars = axes.barh([name for name, _ in ordered], [ms for _, ms in ordered], color="#1b6ca8", height=0.6)
    axes.bar_label(bars, [f"{ms:.1f} ms, {ms / whole:.1%}" for _, ms in ordered], padding=4, fontsize=8)
    axes.set_title(f"A decode step of {sequences} sequences: {whole:.0f} ms", fontsize=9, loc="left")
    axes.set_xlabel("milliseconds")
    axes.margins(x=0.2)
    plt.savefig(path, bbox_inches="tight")
    plt.close("all")
