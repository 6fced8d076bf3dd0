"""Fifty clients that poll batches while these end in every way: python -m tools.clients.programs.pollers ADDRESS

A status never goes back and counts never fall, whichever client looks. At the end the counts are those of the files.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import openai
from openai import AsyncOpenAI, BadRequestError, ConflictError, OpenAI
from openai.types import Batch

from tools.clients.programs.batches import (
    ENDPOINT,
    MAX_RETRIES,
    TOO_LONG,
    both_files,
    chat_line,
    client_of,
    counts_of,
    file_of,
    ids_of,
    long_line,
)
from tools.clients.programs.report import Report, Wrong, expect
from tools.clients.programs.status_laws import ENDS, Sight, faults_in, statuses_in

POLLERS = 50
PAUSE_SECONDS = 0.25  # between two requests of one poller
CANCEL_SECONDS = 0.02  # between two looks of the client that waits for its moment to cancel
SHORT = [chat_line(f"short-{number}", max_tokens=1 + 6 * number, ignore_eos=True) for number in range(60)]
LONG = [long_line(f"long-{number}") for number in range(150)]
BAD = [chat_line(f"bad-{number}", TOO_LONG) for number in range(5)]


@dataclass
class Watched:
    """A batch that ends in a known way, and what all clients have seen of it."""

    name: str
    lines: list[str]
    ends: tuple[str, ...]  # possible last statuses
    window: str = "24h"
    cancel_when: Callable[[Batch], bool] | None = None  # a client cancels the batch at this moment
    id: str = ""
    sights: list[Sight] = field(default_factory=list)

    def has_ended(self) -> bool:
        """Return True if some client has seen the end."""
        return bool(self.sights) and self.sights[-1].status in ENDS


def all_batches() -> list[Watched]:
    """Return one batch for each way to end."""
    return [
        Watched("completed", [*SHORT, *BAD], ("completed",)),
        Watched("all lines failed", BAD, ("completed",)),
        Watched("faulty lines", [SHORT[0], "{", SHORT[0]], ("failed",)),
        Watched("expired", [*SHORT[:9], *LONG], ("expired",), window="10s"),
        Watched("cancelled", [*SHORT[:9], *LONG], ("cancelled",), cancel_when=lambda batch: counts_of(batch)[1] > 0),
        Watched("cancelled at once", SHORT[:9], ("cancelled",), cancel_when=lambda _: True),
        Watched(
            "cancelled at the end",
            SHORT[:9],
            ("cancelled", "completed"),  # the end may come first
            cancel_when=lambda batch: batch.status in ("finalizing", *ENDS),
        ),
    ]


async def look(client: AsyncOpenAI, watched: Watched) -> Batch:
    """Ask for a batch once, and take note of the answer."""
    began = time.perf_counter()
    batch = await client.batches.retrieve(watched.id)
    watched.sights.append(Sight(began, time.perf_counter(), batch.status, *counts_of(batch)))
    return batch


async def poll(client: AsyncOpenAI, first: int, batches: list[Watched]) -> None:
    """Ask for all batches in turns until all have ended, and then once more."""
    order = [*batches[first:], *batches[:first]]
    goes_on = True
    while goes_on:
        goes_on = not all(watched.has_ended() for watched in batches)
        for watched in order:
            await look(client, watched)
            await asyncio.sleep(PAUSE_SECONDS)


async def cancel(client: AsyncOpenAI, watched: Watched, is_time: Callable[[Batch], bool]) -> None:
    """Cancel a batch at its moment. The request may come too late."""
    while not is_time(await look(client, watched)):
        await asyncio.sleep(CANCEL_SECONDS)
    with suppress(ConflictError):
        await client.batches.cancel(watched.id)


async def watch(address: str, batches: list[Watched]) -> None:
    """Create all batches, and poll them until they have ended."""
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=MAX_RETRIES) as client:
        for watched in batches:
            file = await client.files.create(file=("in.jsonl", file_of(watched.lines)), purpose="batch")
            window: Any = watched.window
            batch = await client.batches.create(
                input_file_id=file.id, endpoint=ENDPOINT, completion_window=window, metadata={"name": watched.name}
            )
            watched.id = batch.id
        moments = [(watched, watched.cancel_when) for watched in batches if watched.cancel_when is not None]
        await asyncio.gather(
            *(cancel(client, watched, is_time) for watched, is_time in moments),
            *(poll(client, number % len(batches), batches) for number in range(POLLERS)),
        )


def check_end(client: OpenAI, watched: Watched) -> str:
    """Compare all that was seen of a batch, and its files, with the laws. Returns the figures."""
    faults = faults_in(watched.sights)
    if faults:
        raise Wrong(f"{len(faults)} faults, such as: {faults[0]}")
    batch = client.batches.retrieve(watched.id)
    if batch.status not in watched.ends:
        raise Wrong(f"the batch is {batch.status}")
    output, errors = both_files(client, batch)
    counts = counts_of(batch)
    expect("counts", counts, (len(output) + len(errors), len(output), len(errors)))
    if counts[0]:  # a batch that failed, or that ended before its import, has no lines
        expect("lines", counts[0], len(watched.lines))
        wanted = [json.loads(line)["custom_id"] for line in watched.lines]
        expect("ids", sorted(ids_of(output) + ids_of(errors)), sorted(wanted))
    path, seen = " → ".join(statuses_in(watched.sights)), len({sight.heights for sight in watched.sights})
    figures = f"{len(watched.sights):,} answers, {seen} of them different; {path}"
    return f"{figures}; {counts[1]} completed and {counts[2]} failed of {counts[0]}"


def check_numbers(batches: list[Watched]) -> str:
    """Check that the batches of known outcome have it. Returns the figures."""
    last = {watched.name: max(watched.sights, key=lambda sight: sight.ended) for watched in batches}
    expect("completed", last["completed"].heights[1:], (len(SHORT) + len(BAD), len(SHORT), len(BAD)))
    expect("all lines failed", last["all lines failed"].heights[1:], (len(BAD), 0, len(BAD)))
    expect("faulty lines", last["faulty lines"].heights[1:], (0, 0, 0))
    expect("whether lines of the cancelled batch completed", last["cancelled"].completed > 0, True)
    return f"{sum(len(watched.sights) for watched in batches):,} answers in all"


def empty_file(client: OpenAI) -> str:
    """Upload a file without lines. Returns the figures."""
    for content in (b"", b" \n\n"):
        try:
            client.files.create(file=("in.jsonl", content), purpose="batch")
        except BadRequestError as error:
            expect("the code", error.code, "invalid_file")
        else:
            raise Wrong(f"{content!r} is accepted")
    return "refused with 400 and the code invalid_file"


def main() -> None:
    """Run all."""
    client, report = client_of(sys.argv[1]), Report(f"openai {openai.__version__}")
    batches = all_batches()

    def run_pollers() -> str:
        asyncio.run(watch(sys.argv[1], batches))
        return check_numbers(batches)

    report.check(f"{POLLERS} clients poll {len(batches)} batches", run_pollers)
    for watched in batches:
        report.check(f"what they saw of the batch '{watched.name}'", partial(check_end, client, watched))
    report.check("an empty file", lambda: empty_file(client))
    report.exit()


if __name__ == "__main__":
    main()
