"""Results of sessions that never were."""

from __future__ import annotations

import msgspec

from benchmarks.peers.series.results import MachineFacts, Measurement, ModelFacts, Results
from benchmarks.peers.tasks.task import Kind
from cli.offline.roofline import MachineSpeed, ModelCost

# Numbers that one can reckon with in one's head.
COST = ModelCost(
    parameters=500,
    weight_bytes=1000,
    flop_per_decoded_token=1000.0,
    flop_per_prefilled_token=800.0,
    cache_bytes_per_token=10,
)
SPEED = MachineSpeed(read_bytes_per_second=10_000.0, flop_per_second=100_000.0)


def measurement(system: str, seconds: float, kind: Kind = "batch", requests: int = 64, seed: int = 0) -> Measurement:
    """1,000 tokens in, 100 out, the longest completion 5."""
    return Measurement(
        system=system,
        round=0,
        version=f"{system} 1.0",
        kind=kind,
        requests=requests,
        seed=seed,
        input_tokens=1000,
        output_tokens=100,
        longest_output=5,
        seconds=seconds,
        others_share=0.01,
    )


def thrice(*measurements: Measurement) -> list[Measurement]:
    """Each in three rounds."""
    return [msgspec.structs.replace(found, round=number) for number in range(3) for found in measurements]


def session(*measurements: Measurement) -> Results:
    """Of 64 requests, on a machine of `SPEED`."""
    machine = MachineFacts(
        processor="Abacus",
        cores=2,
        instructions=("avx2",),
        memory_bytes=2**34,
        system="Linux x86_64",
        python="3.11.0",
        speed=SPEED,
    )
    return Results(
        started_at="2026-01-01T00:00+00:00",
        threads=2,
        batch_requests=64,
        machine=machine,
        model=ModelFacts(name="toy", cost=COST),
        measurements=list(measurements),
    )
