"""A series of measurements on one machine, new or continued."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from benchmarks.peers.series.machine_facts import describe_machine
from benchmarks.peers.series.results import ModelFacts, Results


@dataclass(frozen=True)
class Setting:
    """The settings that all measurements of a series share."""

    model: ModelFacts
    threads: int
    batch_requests: int
    held_to: str | None = None  # a key of `LESSER_PROCESSORS`

    def new_series(self) -> Results:
        """Return a series without measurements. Measures the machine, which takes some seconds."""
        return Results(
            started_at=datetime.now(UTC).isoformat(timespec="minutes"),
            threads=self.threads,
            batch_requests=self.batch_requests,
            machine=replace(describe_machine(self.threads), held_to=self.held_to),
            model=self.model,
        )

    def series_to_go_on(self, path: Path) -> Results:
        """Return the saved series. Measures the machine, which takes some seconds.

        Raises:
            SystemExit: There is no saved series, or it has other settings, so that new figures do not compare.
        """
        if not path.exists():
            raise SystemExit(f"{path}: there is no series to add to. Leave --add out, or say --output FOLDER.")
        results, now = Results.load(path), self.new_series()
        speed = results.machine.speed.best_of(now.machine.speed)
        for what, before, after in (
            ("machine", replace(results.machine, speed=speed), replace(now.machine, speed=speed)),
            ("model", results.model, now.model),
            ("threads", results.threads, now.threads),
            ("requests of the batch", results.batch_requests, now.batch_requests),
        ):
            if before != after:
                raise SystemExit(f"{path}: {what} then: {before}; now: {after}. These cannot be one series.")
        return replace(results, machine=replace(results.machine, speed=speed))
