"""Choices of one line over a real model."""

from __future__ import annotations

from collections.abc import Callable

from engine.load import LoadedEngine
from engine.request import Request
from jobs.records.sampling import SamplingParams, line_seed

LoadTiny = Callable[..., LoadedEngine]
PROMPT = tuple(place * 31 % 256 for place in range(150))


def test_choices_are_what_each_gives_alone_and_their_prompt_is_computed_once(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    seeds = [7, *(line_seed(7, choice) for choice in range(1, 6))]
    batch = [Request(PROMPT, SamplingParams(max_tokens=20, seed=seed, ignore_eos=True), "several") for seed in seeds]
    alone = [loaded.engine.submit(request).future.result(120).token_ids for request in batch]
    assert len(set(alone)) == len(alone)
    fresh = load_tiny(num_pages=60)
    assert [ticket.future.result(120).token_ids for ticket in fresh.engine.submit_many(batch)] == alone
    assert fresh.engine.take_group_stats("several").cached_tokens == 5 * (len(PROMPT) - 1)
