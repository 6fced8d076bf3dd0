"""Laws of scores over a tiny model: a choice has the bits that its tokens have when they are generated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.load import LoadedEngine
from engine.request import Request, RequestInvalid, RequestOutput, RequestTooLong, Scoring
from jobs.records.sampling import SamplingParams

LoadTiny = Callable[..., LoadedEngine]
PROMPTS = [
    tuple((place * 31 + number * 7) % 256 for place in range(length)) for number, length in enumerate((1, 7, 64, 129))
]


def outputs(loaded: LoadedEngine, requests: list[Request]) -> list[RequestOutput]:
    return [ticket.future.result(120) for ticket in loaded.engine.submit_many(requests)]


def scored(prompt: tuple[int, ...], *ids: tuple[int, ...], group: str = "") -> Request:
    params = SamplingParams(max_tokens=len(ids), temperature=0, ignore_eos=True)
    return Request(prompt, params, group, scoring=Scoring(ids, tuple(range(len(ids[0])))))


def path(prompt: tuple[int, ...], tokens: tuple[int, ...], group: str = "") -> Request:
    """A request that scores one choice of these tokens."""
    return scored(prompt, *((token_id,) for token_id in tokens), group=group)


def generated(loaded: LoadedEngine, temperature: float) -> list[RequestOutput]:
    params = SamplingParams(max_tokens=9, temperature=temperature, seed=3, ignore_eos=True)
    return outputs(loaded, [Request(prompt, params, logprobs=1) for prompt in PROMPTS])


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_choice_has_the_bits_that_its_tokens_had_when_they_were_generated(
    load_tiny: LoadTiny, temperature: float
) -> None:
    loaded = load_tiny()
    made = generated(loaded, temperature)
    found = outputs(loaded, [path(prompt, each.token_ids) for prompt, each in zip(PROMPTS, made, strict=True)])
    for each, output in zip(made, found, strict=True):
        assert each.logprobs is not None
        assert output.token_ids == each.token_ids
        assert [score.logprob for score in output.scores] == [place.own for place in each.logprobs.places]
        likeliest = [int.from_bytes(place.top_ids, "little") for place in each.logprobs.places]
        greedy = [token_id == best for token_id, best in zip(each.token_ids, likeliest, strict=True)]
        assert [score.is_greedy for score in output.scores] == greedy
    assert temperature == 0 or not all(score.is_greedy for output in found for score in output.scores)


def test_choices_have_the_same_bits_alone_among_others_in_a_small_batch_and_after_a_loss_of_pages(
    load_tiny: LoadTiny,
) -> None:
    loaded = load_tiny()
    choices = [path(prompt, tuple(range(number, number + 70, 3))) for number, prompt in enumerate(PROMPTS)]
    expected = [outputs(loaded, [choice])[0].scores for choice in choices]
    writers = [Request(prompt, SamplingParams(max_tokens=90, seed=1, ignore_eos=True)) for prompt in PROMPTS]
    assert [each.scores for each in outputs(loaded, [*choices, *writers])[:4]] == expected
    assert [each.scores for each in outputs(load_tiny(max_num_seqs=2), choices)] == expected
    tight = load_tiny(num_pages=9, max_model_len=256)
    assert [each.scores for each in outputs(tight, [*choices, *writers])[:4]] == expected


def test_choices_of_one_token_are_scored_together_in_one_prefill(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    labels = (5, 99, 200, 7)
    [together] = outputs(loaded, [scored(PROMPTS[3], labels, group="labels")])
    apart = outputs(loaded, [path(PROMPTS[3], (label,)) for label in labels])
    assert list(together.scores) == [each.scores[0] for each in apart]
    stats = loaded.engine.take_group_stats("labels")
    assert (stats.decode_steps, stats.output_tokens) == (0, 1)
    everything = outputs(loaded, [scored(PROMPTS[3], tuple(range(loaded.tokenizer.vocab_size)))])[0].scores
    assert [score for score in everything if score.is_greedy] == [max(everything)]
    assert math.fsum(math.exp(score.logprob) for score in everything) == pytest.approx(1, abs=1e-5)


def test_a_long_choice_needs_one_decode_step_and_counts_as_no_guess(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    [found] = outputs(loaded, [path(PROMPTS[1], tuple(range(8)), group="long")])
    assert len(found.scores) == 8
    stats = loaded.engine.take_group_stats("long")
    assert (stats.decode_steps, stats.decode_tokens, stats.output_tokens) == (1, 7, 8)
    assert (stats.drafted_tokens, stats.accepted_tokens) == (0, 0)


def test_a_choice_that_does_not_fit_or_has_an_unknown_token_is_refused(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    limit = loaded.resolved.max_model_len
    fits = path(PROMPTS[3], (5,) * (limit - len(PROMPTS[3])))
    [fitting, too_long, unknown] = loaded.engine.submit_many(
        [
            fits,
            path(PROMPTS[3], (5,) * (limit - len(PROMPTS[3]) + 1)),
            replace(path(PROMPTS[0], (1, 2)), scoring=Scoring(((1,), (100_000,)), (0,))),
        ]
    )
    assert len(fitting.future.result(120).scores) == limit - len(PROMPTS[3])
    with pytest.raises(RequestTooLong):
        too_long.future.result(120)
    with pytest.raises(RequestInvalid, match="A choice has the token id 100000"):
        unknown.future.result(120)
