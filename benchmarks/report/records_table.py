"""The table of completions that are records of a JSON schema."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.peers.series.results import Measurement
from benchmarks.peers.systems import SYSTEMS
from benchmarks.report.markdown import markdown_table
from benchmarks.report.medians import ROUNDS_TO_QUOTE


def records_part(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Return heading, table and explanation, or nothing if no system made records.

    Systems write different numbers of tokens for the same records, so lines per second compare them.
    """
    found = [each for each in measurements if each.kind == "records"]
    rows = [row for requests in sorted({each.requests for each in found}) for row in _rows(found, requests)]
    if rows:
        yield "## Records of a JSON schema"
        yield markdown_table(["", "requests", "valid lines", "tokens per line", "tokens/s", "valid lines/s"], rows)
        yield (
            "Each completion must be JSON for one schema of twelve fields. The figures are medians. Brackets hold how "
            "many times as many valid lines per second qwen-batch makes. A line that reaches its maximum of tokens is "
            "not valid."
        )


def _rows(found: Sequence[Measurement], requests: int) -> Iterator[list[str]]:
    """Return a row per system, in the order of `SYSTEMS`."""
    runs = {key: [each for each in found if (each.system, each.requests) == (key, requests)] for key in SYSTEMS}
    ours = _valid_per_second(runs["run"])
    for key, measured in runs.items():
        if not measured:
            continue
        mark = "" if len(measured) >= ROUNDS_TO_QUOTE else "*"
        rate = _valid_per_second(measured)
        times = f" ({ours / rate:.2f})" if key != "run" and ours and rate else ""
        yield [
            SYSTEMS[key].name,
            f"{requests}",
            f"{statistics.median(_valid_lines(each) for each in measured):g}",
            f"{statistics.median(each.output_tokens for each in measured) / requests:.1f}",
            f"{statistics.median(each.rate for each in measured):.1f}{mark}",
            f"{rate:.2f}{mark}{times}",
        ]


def _valid_per_second(measured: Sequence[Measurement]) -> float:
    return statistics.median(_valid_lines(each) / each.seconds for each in measured) if measured else 0.0


def _valid_lines(found: Measurement) -> float:
    return found.more.get("valid_lines") or 0.0
