"""The limit that the machine of a series sets for a case."""

from __future__ import annotations

from benchmarks.peers.series.results import Measurement, Results
from cli.offline.roofline import batch_limit, decode_limit, prefill_limit


def limit_of(results: Results, found: Measurement) -> float:
    """Return the maximum tokens per second, with weights and products in bfloat16."""
    cost, speed = results.model.cost, results.machine.speed
    if found.kind == "prefill":
        return prefill_limit(cost, speed, found.input_tokens)
    if found.kind in ("one_stream", "streams"):
        return decode_limit(cost, speed, found.requests)
    return batch_limit(
        cost,
        speed,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        longest_output=found.longest_output,
    )
