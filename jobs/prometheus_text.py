"""The text format of Prometheus. No library is used, because the format is simple and has not changed for ten years.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def head(name: str, kind: str, what: str) -> tuple[str, str]:
    """Return the two lines before the values of a metric.

    Args:
        name: Name of the metric.
        kind: `counter`, `gauge` or `histogram`.
        what: One sentence for people.
    """
    return f"# HELP {name} {what}", f"# TYPE {name} {kind}"


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """Return the line of one value."""
    return f"{name}{_braced(labels)} {value}"


def histogram(
    name: str, labels: Mapping[str, str], borders: Sequence[float], counts: Sequence[int], total: float
) -> Iterator[str]:
    """Iterate over the lines of one histogram.

    Args:
        name: Name of the metric.
        labels: Labels of every line.
        borders: Upper bounds of the buckets.
        counts: Number of values per bucket. The last one is for values above all bounds.
        total: Sum of all values.
    """
    for border, count in zip([*map(str, borders), "+Inf"], accumulate(counts), strict=True):
        yield sample(f"{name}_bucket", {**labels, "le": border}, count)
    yield sample(f"{name}_sum", labels, total)
    yield sample(f"{name}_count", labels, sum(counts))


def _braced(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
