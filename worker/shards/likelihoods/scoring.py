"""The scores of a line's choices: requests for the engine, and the result that they give."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from engine.request import RequestOutput, Scoring, Ticket, TokenScore
from jobs.records.completion import Completion, ErrorCode, Score, Usage
from jobs.records.prompt import LabelWish, Prompt
from jobs.records.sampling import FinishReason, SamplingParams
from model.text.text_encoder import TooManyTokens
from worker.shards.prompt_encoder import LineRefused, PromptTokenizer


@dataclass(frozen=True)
class ScoredPrompt:
    """The tokens before some choices, and what to score after them."""

    token_ids: tuple[int, ...]
    scoring: Scoring

    @property
    def params(self) -> SamplingParams:
        """Settings of the request: it has exactly the tokens of the choice."""
        return SamplingParams(max_tokens=len(self.scoring.ids), temperature=0, ignore_eos=True)


def scored_prompts(
    prompt: Prompt, token_ids: tuple[int, ...], tokenizer: PromptTokenizer, max_tokens: int
) -> list[ScoredPrompt]:
    """Return what the engine has to score for a line.

    Choices of one token after the same tokens are scored together, in one prefill. Each longer choice is one request.

    Args:
        prompt: A line with choices.
        token_ids: The tokens of its prompt.
        tokenizer: The model's tokenizer.
        max_tokens: Max tokens of prompt and choice together.

    Raises:
        LineRefused: A choice cannot be encoded, or is too long.
    """
    pairs = _split_texts(prompt, tokenizer, max_tokens) if prompt.text is not None else None
    if pairs is None:
        pairs = [(token_ids, choice) for choice in _encoded(prompt.score, tokenizer, max_tokens)]
    alike: dict[tuple[int, ...], list[int]] = {}
    found = []
    for number, (before, choice) in enumerate(pairs):
        if len(choice) == 1:
            alike.setdefault(before, []).append(number)
        else:
            found.append(ScoredPrompt(before, Scoring(tuple((token_id,) for token_id in choice), (number,))))
    for before, numbers in alike.items():
        labels = tuple(pairs[number][1][0] for number in numbers)
        found.append(ScoredPrompt(before, Scoring((labels,), tuple(numbers))))
    return found


def _split_texts(
    prompt: Prompt, tokenizer: PromptTokenizer, max_tokens: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
    """Return for each choice the tokens before it and its own, where both are encoded as one text.

    The text is cut after as many tokens as the prompt has alone, and white space at the end of the prompt belongs to
    the choice. lm-eval does the same, so scores can be compared. Returns None if a choice would have no token then, or
    nothing would stand before it.
    """
    text = prompt.text or ""
    bare = text.rstrip()
    if not bare:
        return None
    before, *whole = _encoded((bare, *(text + choice for choice in prompt.score)), tokenizer, max_tokens)
    pairs = [(ids[: len(before)], ids[len(before) :]) for ids in whole]
    return pairs if all(choice for _, choice in pairs) else None


def _encoded(texts: Sequence[str], tokenizer: PromptTokenizer, max_tokens: int) -> list[tuple[int, ...]]:
    found = []
    for text, encoded in zip(texts, tokenizer.encode_batch(texts, max_tokens), strict=True):
        if isinstance(encoded, TooManyTokens):
            message = f"The prompt with a choice has more than the {max_tokens:,} tokens that this worker allows."
            raise LineRefused(ErrorCode.PROMPT_TOO_LONG, message)
        if isinstance(encoded, ValueError):
            message = f"A choice cannot be scored: {text[-40:]!r} cannot be encoded: {encoded}."
            raise LineRefused(ErrorCode.INVALID_LINE, message)
        if not encoded:
            raise LineRefused(ErrorCode.INVALID_LINE, f"A choice cannot be scored: {text[-40:]!r} has no tokens.")
        found.append(tuple(encoded))
    return found


def labels_scoring(wish: LabelWish) -> Scoring:
    """Return what to score after each prompt of a line that asks for probabilities of single tokens."""
    return Scoring((wish.token_ids,), tuple(range(len(wish.token_ids))))


def labelled_completion(prompt: Prompt, wish: LabelWish, outputs: Sequence[RequestOutput]) -> Completion:
    """Return the result of a line that asks for probabilities of single tokens, from the outputs of its prompts."""
    usage = Usage(prompt_tokens=sum(output.num_prompt_tokens for output in outputs), completion_tokens=0)
    return Completion(
        index=prompt.index,
        id=prompt.id,
        text="",
        finish_reason=FinishReason.STOP,
        usage=usage,
        endpoint=prompt.endpoint,
        finished_at=_wall_clock(outputs),
        label_probs=tuple(_probabilities([score.logprob for score in output.scores], wish) for output in outputs),
    )


def _probabilities(logprobs: Sequence[float], wish: LabelWish) -> tuple[float, ...]:
    return tuple(_shares(logprobs)) if wish.softmax else tuple(map(math.exp, logprobs))


def _shares(logprobs: Sequence[float]) -> list[float]:
    """Return the softmax of log-probabilities."""
    best = max(logprobs)
    total = math.fsum(math.exp(each - best) for each in logprobs)
    return [math.exp(each - best) / total for each in logprobs]


def _wall_clock(outputs: Sequence[RequestOutput]) -> float:
    """Return the time at which the last output was finished, in seconds since the epoch."""
    return time.time() - (time.monotonic() - max(output.finished_at for output in outputs))


def scored_completion(prompt: Prompt, tickets: Sequence[Ticket]) -> Completion:
    """Return the result of a line from its fulfilled tickets. Its text is the likeliest choice, the first on ties."""
    outputs = [ticket.future.result() for ticket in tickets]
    of_choice: dict[int, Sequence[TokenScore]] = {}
    for ticket, output in zip(tickets, outputs, strict=True):
        of_choice |= _by_choice(ticket, output)
    sums = [math.fsum(score.logprob for score in of_choice[number]) for number in range(len(prompt.score))]
    shares = _shares(sums)
    scores = tuple(
        Score(
            choice=choice,
            logprob=sums[number],
            num_tokens=len(of_choice[number]),
            is_greedy=all(score.is_greedy for score in of_choice[number]),
            prob=shares[number],
        )
        for number, choice in enumerate(prompt.score)
    )
    return Completion(
        index=prompt.index,
        id=prompt.id,
        text=prompt.score[sums.index(max(sums))],
        finish_reason=FinishReason.STOP,
        usage=Usage(
            prompt_tokens=max(output.num_prompt_tokens for output in outputs),
            completion_tokens=sum(score.num_tokens for score in scores),
        ),
        endpoint=prompt.endpoint,
        finished_at=_wall_clock(outputs),
        scores=scores,
    )


def _by_choice(ticket: Ticket, output: RequestOutput) -> dict[int, Sequence[TokenScore]]:
    """Return the scores of the tokens of each choice that a request was about."""
    scoring = ticket.request.scoring
    assert scoring is not None, "a line with choices has only requests that score them"
    if len(scoring.choices) == 1:
        return {scoring.choices[0]: output.scores}
    return {number: (score,) for number, score in zip(scoring.choices, output.scores, strict=True)}
