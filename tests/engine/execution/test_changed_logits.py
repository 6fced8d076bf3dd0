"""Settings that forbid or favour tokens, over a real model and in the rows that sampling gets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from engine.execution.next_tokens import barred_after
from engine.load import LoadedEngine
from engine.request import Request, RequestInvalid
from jobs.records.sampling import SamplingParams

LoadTiny = Callable[..., LoadedEngine]
PROMPT = tuple(range(40, 80))


def ids(loaded: LoadedEngine, barred: tuple[tuple[int, ...], ...] = (), **settings: Any) -> tuple[int, ...]:
    params = SamplingParams(**{"max_tokens": 24, "temperature": 0, "ignore_eos": True, **settings})
    return loaded.engine.submit(Request(PROMPT, params, barred_sequences=barred)).future.result(120).token_ids


@pytest.mark.parametrize("temperature", [0, 2])
def test_only_allowed_tokens_are_sampled(load_tiny: LoadTiny, temperature: float) -> None:
    found = ids(load_tiny(), allowed_token_ids=(3, 77, 200), temperature=temperature, seed=1)
    assert set(found) <= {3, 77, 200}
    if temperature:
        assert set(found) == {3, 77, 200}


def test_a_bias_of_100_forces_a_token_and_one_of_minus_100_bars_it(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    assert set(ids(loaded, logit_bias=((77, 100.0),))) == {77}
    plain = ids(loaded)
    assert plain[0] not in ids(loaded, logit_bias=tuple((token, -100.0) for token in sorted(set(plain))))[:1]


def test_neighbours_of_a_line_with_changed_logits_keep_their_tokens(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    plain = SamplingParams(max_tokens=24, temperature=0, ignore_eos=True)
    changed = [{"allowed_token_ids": (5, 6)}, {"logit_bias": ((9, 100.0), (11, -3.0))}]
    batch = [Request(PROMPT, plain)]
    batch += [Request(PROMPT, SamplingParams(max_tokens=24, temperature=0, **said)) for said in changed]  # type: ignore[arg-type]
    together = [ticket.future.result(120).token_ids for ticket in loaded.engine.submit_many(batch)]
    assert together == [loaded.engine.submit(request).future.result(120).token_ids for request in batch]
    assert together[0] == ids(loaded)


def test_only_the_last_token_of_a_barred_sequence_is_barred_and_only_after_the_others(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    plain = ids(loaded)
    first, second = plain[:2]
    found = ids(loaded, barred=((first, second),))
    assert found[0] == first and found[1] != second
    assert (first, second) not in pairwise(found)
    assert first not in ids(loaded, barred=((first,),))


def test_barred_sequences_look_at_generated_tokens_only() -> None:
    barred = ((5,), (1, 2), (1, 2, 3))
    assert barred_after([], barred) == {5}
    assert barred_after([1], barred) == {5, 2}
    assert barred_after([1, 2], barred) == {5, 3}
    assert barred_after([2, 1, 2, 9], barred) == {5}


@pytest.mark.parametrize("said", [{"allowed_token_ids": (5, 999)}, {"logit_bias": ((999, 1.0),)}])
def test_a_token_outside_the_vocabulary_is_refused(load_tiny: LoadTiny, said: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid, match="has the token id 999; ids are from 0 to 256"):
        ids(load_tiny(), **said)
