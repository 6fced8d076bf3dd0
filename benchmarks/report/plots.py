"""The figures of a series as pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # files alone: no screen is needed

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.peers.series.results import Results
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.tasks.task import Kind
from benchmarks.report.limits import limit_of
from benchmarks.report.medians import Case, Figure, figures, systems_of
from cli.offline.roofline import decode_limit

OURS, THEIRS, LIMIT = "#1b6ca8", "#a9b4bd", "#c0392b"
OUR_LINE, THEIR_LINES = OURS, ("#e08e2b", "#3a8f5c", "#8157a6", "#7f8c8d")
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
PANELS: tuple[tuple[Kind, str], ...] = (
    ("batch", "Batch of {requests}\noutput tokens/s"),
    ("one_stream", "One stream\noutput tokens/s"),
    ("prefill", "Prefill of 1,024\nprompt tokens/s"),
)

Points = list[tuple[int, Figure]]


def draw(results: Results, folder: Path) -> list[str]:
    """Draw a picture for each kind of measurement in the series. Returns the files' names."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 150})
    found = figures(results.measurements)
    names = []
    for name, drawing in (("throughput.png", _bars), ("lines.png", _lines), ("batch-sizes.png", _batch_sizes)):
        if drawing(results, found):
            plt.savefig(folder / name, bbox_inches="tight")
            names.append(name)
        plt.close("all")
    return names


def _bars(results: Results, found: dict[Case, Figure]) -> bool:
    """Draw one bar per system, one panel per measurement, and the limit as a line."""
    systems = systems_of(found)
    if not systems:
        return False
    _, panels = plt.subplots(1, len(PANELS), figsize=(10, 0.8 + 0.32 * len(systems)), sharey=True)
    for panel, (kind, title) in zip(panels, PANELS, strict=True):
        requests = results.batch_requests if kind == "batch" else 1
        bars = {key: found.get(Case(key, kind, requests, 0)) for key in systems}
        _panel(results, panel, bars)
        panel.set_title(title.format(requests=requests), fontsize=9, loc="left", pad=14)
    panels[0].set_yticks(range(len(systems)), [SYSTEMS[key].name for key in systems])
    panels[0].invert_yaxis()
    return True


def _panel(results: Results, panel: Axes, bars: dict[str, Figure | None]) -> None:
    for row, (key, figure) in enumerate(bars.items()):
        if figure is None:
            continue
        panel.barh(row, figure.rate, color=OURS if SYSTEMS[key].is_ours else THEIRS, height=0.7)
        label = panel.annotate(
            f"{figure.rate:.0f}{figure.mark}", (figure.rate, row), (4, 0), textcoords="offset points", va="center"
        )
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # where the limit's line crosses it
    measured = [figure for figure in bars.values() if figure is not None]
    if measured:
        limit = limit_of(results, measured[0].sample)
        panel.axvline(limit, color=LIMIT, linewidth=1.2, zorder=2)
        panel.set_xlim(0, 1.18 * max(limit, *(figure.rate for figure in measured)))
        panel.text(
            limit,
            1.0,
            f"limit {limit:.0f}",
            color=LIMIT,
            ha="center",
            fontsize=8,
            transform=panel.get_xaxis_transform(),
        )
    panel.tick_params(left=False)


def _lines(results: Results, found: dict[Case, Figure]) -> bool:
    """Draw throughput over the number of lines of a job, for systems with more than two sizes."""
    curves = dict(_curves(found, "batch"))
    if not curves:
        return False
    axes = _curve_axes("lines of a job, all submitted at once", "output tokens/s")
    _draw_curves(axes, curves)
    widest = max(curves.values(), key=len)
    limits = [limit_of(results, figure.sample) for _, figure in widest]
    axes.plot([lines for lines, _ in widest], limits, "--", color=LIMIT, linewidth=1.2, label="limit (bfloat16)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return True


def _batch_sizes(results: Results, found: dict[Case, Figure]) -> bool:
    """Draw decoding over batch size, under the roofline. Memory bounds its slope, arithmetic its level part."""
    curves = dict(_curves(found, "streams"))
    if not curves:
        return False
    axes = _curve_axes("sequences that decode together", "output tokens/s")
    _draw_curves(axes, curves)
    widest = max(size for points in curves.values() for size, _ in points)
    sizes = [2 ** (step / 8) for step in range(8 * widest.bit_length() - 7)]
    cost, speed = results.model.cost, results.machine.speed
    slope = decode_limit(cost, speed, 1)
    level = speed.flop_per_second / cost.flop_per_decoded_token
    roof = [min(size * slope, level) for size in sizes]
    axes.plot(sizes, roof, "--", color=LIMIT, linewidth=1.2, label="roofline (bfloat16)")
    axes.annotate(f"memory, {speed.read_bytes_per_second / 1e9:.0f} GB/s", (1, 3 * slope), color=LIMIT, fontsize=8)
    axes.annotate(
        f"{speed.flop_per_second / 1e9:,.0f} GFLOP/s", (sizes[-1], 1.05 * level), color=LIMIT, ha="right", fontsize=8
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PLAIN)
    axes.legend(frameon=False, loc="lower right")
    return True


def _curves(found: dict[Case, Figure], kind: Kind) -> Iterator[tuple[str, Points]]:
    for key in systems_of(found):
        points = sorted(
            ((case.requests, figure) for case, figure in found.items() if case[:2] == (key, kind) and case.seed == 0),
            key=lambda point: point[0],
        )
        if len(points) > 2:
            yield key, points


def _draw_curves(axes: Axes, curves: dict[str, Points]) -> None:
    colours = itertools.cycle(THEIR_LINES)
    for key, points in curves.items():
        colour = OUR_LINE if SYSTEMS[key].is_ours else next(colours)
        rates = [figure.rate for _, figure in points]
        axes.plot([size for size, _ in points], rates, "o-", color=colour, markersize=4, label=SYSTEMS[key].name)


def _curve_axes(x_label: str, y_label: str) -> Axes:
    _, axes = plt.subplots(figsize=(6, 3.8))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(PLAIN)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return axes
