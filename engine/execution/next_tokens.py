"""Sampling of the next tokens from hidden states."""

from __future__ import annotations

from collections.abc import Sequence as Items

import torch

from engine.request import TokenLogprobs
from engine.scheduling.batch import Outcome
from engine.scheduling.sequence import Sampled, Sequence
from model.qwen3 import Qwen3ForCausalLM
from model.sampling.device_copy import on_device
from model.sampling.logprobs import LogSoftmax
from model.sampling.sampling import SamplingBatch, SamplingRow, sample
from model.sampling.token_masks import TokenMasks

_MAX_REACH = 64  # maximum of a row's `reach`: below the 64 largest logits, too many lie close together
_PAUSE_STEPS = 32  # steps with all logits after a step in which too many logits lay close together
_GREEDY = SamplingRow()
_INT32, _FLOAT32 = "<i4", "<f4"  # little-endian


class NextTokens:
    """Samples the next tokens.

    If only the largest logits can be chosen, only these are computed. Their bits equal those of the full computation,
    so the choice is the same. Rows that ask for log-probabilities need all logits, but their neighbours do not.
    """

    def __init__(self, model: Qwen3ForCausalLM) -> None:
        """Create a sampler for hidden states of `model`."""
        self._model = model
        self._pause = 0  # steps left to compute with all logits

    def choose(self, hidden: torch.Tensor, rows: Items[SamplingRow], masks: TokenMasks | None = None) -> list[Outcome]:
        """Return one token id per row, with the log-probabilities of a row that asks for them.

        Args:
            hidden: [n, hidden_size] hidden states. The first belong to `rows`; any further ones are padding.
            rows: Sampling settings of each row.
            masks: Tokens that constrained rows may choose. None if no row is constrained.
        """
        asking = [index for index, row in enumerate(rows) if row.asks]
        most_ask = 2 * len(asking) > len(rows)
        largest = None if most_ask else self._largest(hidden, rows, masks)
        softmax: LogSoftmax | None = None
        count = max((rows[index].logprobs or 0 for index in asking), default=0)
        batch = SamplingBatch.from_rows(rows, hidden.device, masks if largest is None else None)
        if largest is None:
            logits = self._model.rounded_logits(hidden)[: len(rows)]
            if asking:
                softmax = LogSoftmax.of(logits if len(asking) == len(rows) else logits[asking], count)
            chosen = sample(logits.clone() if asking and batch.changes(logits) else logits, batch)
        else:
            if asking:
                softmax = LogSoftmax.of(self._model.rounded_logits(hidden[asking]), count)
            logits, ids = largest
            chosen = ids.gather(1, sample(logits, batch)[:, None]).squeeze(1)
        token_ids: list[int] = chosen.tolist()
        outcomes: list[Outcome] = [*token_ids]
        if softmax is not None:
            found = _logprobs(softmax, [rows[index] for index in asking], [token_ids[index] for index in asking])
            for row, logprobs in zip(asking, found, strict=True):
                outcomes[row] = Sampled(token_ids[row], logprobs)
        return outcomes

    def _largest(
        self, hidden: torch.Tensor, rows: Items[SamplingRow], masks: TokenMasks | None
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return each row's largest allowed logits and their ids, or None if all logits are needed or faster."""
        if self._model.weights.screen is None:
            return None
        reaches = [row.reach for row in rows]
        if masks is not None and any(reach is not None and reach > _MAX_REACH for reach in reaches):
            narrow = masks.narrow(_MAX_REACH)
            reaches = [reach and min(reach, max(narrow.get(row, reach), 1)) for row, reach in enumerate(reaches)]
        if any(reach is None or reach > _MAX_REACH for reach in reaches):
            return None
        if self._pause > 0:
            self._pause -= 1
            return None
        bits = masks.of_rows(len(rows)) if masks else None
        largest = self._model.largest_logits(hidden[: len(rows)], torch.tensor(reaches), bits)
        if largest is None:
            self._pause = _PAUSE_STEPS
        return largest


def _logprobs(softmax: LogSoftmax, rows: Items[SamplingRow], chosen: Items[int]) -> list[TokenLogprobs]:
    """Return the log-probabilities of rows that ask for them.

    Args:
        softmax: The log-softmax of these rows.
        rows: Their sampling settings.
        chosen: Their tokens.
    """
    counts = [row.logprobs or 0 for row in rows]
    named = [((row.scored_ids or (token_id,))[0], *row.scored_ids) for token_id, row in zip(chosen, rows, strict=True)]
    width = max(map(len, named))
    padded = [[*ids, *(0,) * (width - len(ids))] for ids in named]
    values = softmax.of_tokens(on_device(padded, torch.int64, softmax.logits.device)).tolist()
    top_ids, top = softmax.top_ids.cpu().numpy(), softmax.of_likeliest().numpy()
    return [
        TokenLogprobs(
            own=values[place][0],
            top_ids=top_ids[place, :count].astype(_INT32).tobytes(),
            top=top[place, :count].astype(_FLOAT32).tobytes(),
            scored=tuple(values[place][1 : len(named[place])]),
        )
        for place, count in enumerate(counts)
    ]


def barred_after(generated: Items[int], sequences: Items[tuple[int, ...]]) -> frozenset[int]:
    """Return the tokens that would complete one of the barred sequences after the generated tokens."""
    return frozenset(last for *before, last in sequences if not before or generated[-len(before) :] == before)


def sampling_row(sequence: Sequence, vocab_size: int, num_drafted: int = 0) -> SamplingRow:
    """Return the settings that choose the sequence's next token.

    Args:
        sequence: A sequence whose known tokens have all been fed.
        num_drafted: Number of drafted tokens after these. They count as the sequence's own.
        vocab_size: Number of ids that can be sampled. Stop tokens from this id on are never sampled and need no
            ban.
    """
    params = sequence.params
    split = sequence.num_prompt_tokens
    barred = sequence.stop_checker.barred_token_ids(sequence.num_generated + num_drafted)
    if sequence.ticket.request.barred_sequences:
        generated = [*sequence.generated, *sequence.draft[:num_drafted]]
        barred |= barred_after(generated, sequence.ticket.request.barred_sequences)
    logprobs, scored = sequence.ticket.request.logprobs, sequence.scored_ids(num_drafted)
    if params.greedy and not params.changes_logits and not barred and logprobs is None and not scored:
        return _GREEDY  # one shared object: large greedy batches are built much faster
    return SamplingRow(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        repetition_penalty=params.repetition_penalty,
        seed=params.seed,
        position=len(sequence.tokens) + num_drafted,
        prompt_ids=sequence.tokens[:split] if params.penalised else (),
        output_ids=[*sequence.tokens[split:], *sequence.draft[:num_drafted]] if params.penalised else (),
        banned_ids=tuple(token_id for token_id in barred if token_id < vocab_size),
        bias=params.logit_bias,
        allowed_ids=params.allowed_token_ids,
        logprobs=logprobs,
        scored_ids=scored,
    )
