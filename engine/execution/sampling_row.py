"""A sequence's settings as the sampler takes them."""

from __future__ import annotations

from engine.scheduling.sequence import Sequence
from model.sampling.sampling import SamplingRow

_GREEDY = SamplingRow()


def sampling_row(sequence: Sequence, vocab_size: int) -> SamplingRow:
    """How the sequence's next token is chosen.

    Args:
        sequence: All of its known tokens have been fed.
        vocab_size: Ids that can be sampled; a stop token beyond them needs no ban.
    """
    params = sequence.params
    split = sequence.num_prompt_tokens
    barred = sequence.stop_checker.barred_token_ids(sequence.num_generated)
    if params.greedy and not params.penalised and not barred:
        return _GREEDY  # it needs nothing else: a large batch of them is built much faster
    return SamplingRow(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        repetition_penalty=params.repetition_penalty,
        seed=params.seed,
        position=len(sequence.tokens),
        prompt_ids=sequence.tokens[:split] if params.penalised else (),
        output_ids=sequence.tokens[split:] if params.penalised else (),
        banned_ids=tuple(token_id for token_id in barred if token_id < vocab_size),
    )
