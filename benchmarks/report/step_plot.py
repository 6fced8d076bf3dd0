"""A picture of the parts of a decode step."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # files alone: no screen is needed

from matplotlib import pyplot as plt


def draw_step(parts: dict[str, float], alone: dict[str, float], sequences: int, path: Path) -> None:
    """Draw one bar per part, the longest first, with milliseconds and share. Bars of the layers' parts follow below."""
    whole = sum(parts.values())
    ordered = [*reversed(alone.items()), *sorted(parts.items(), key=lambda part: part[1])]
    labels = [f"{ms:.1f} ms" + (f", {ms / whole:.1%}" if name in parts else "") for name, ms in ordered]
    colors = ["#1b6ca8" if name in parts else "#b8c4ce" for name, _ in ordered]
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 150})
    _, axes = plt.subplots(figsize=(7, 0.8 + 0.32 * len(ordered)))
    bars = axes.barh([name for name, _ in ordered], [ms for _, ms in ordered], color=colors, height=0.6)
    axes.bar_label(bars, labels, padding=4, fontsize=8)
    axes.set_title(f"A decode step of {sequences} sequences: {whole:.0f} ms", fontsize=9, loc="left")
    axes.set_xlabel("milliseconds")
    axes.margins(x=0.2)
    plt.savefig(path, bbox_inches="tight")
    plt.close("all")
