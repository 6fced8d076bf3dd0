"""Completions that begin with their prompt, whose tokens have log-probabilities, too."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from msgspec import structs

from engine.request import AnswerLogprobs, Request, Scoring, Ticket
from jobs.records.completion import Choice, Completion, Logprobs, Usage
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingParams
from worker.shards.likelihoods.packed_logprobs import packed


class EchoedPrompt(NamedTuple):
    """The prompt with which a completion begins."""

    text: str
    logprobs: Logprobs | None  # None if the line asks for none


def prompt_scoring(request: Request) -> list[Request]:
    """Return the request that scores a prompt's tokens after its first one. Empty if there are none.

    The prompt of `request` is scored apart, so that its completion keeps the bits that it has without log-probabilities
    of the prompt. The tokens go through decode steps, as generated ones do.
    """
    first, *rest = request.token_ids
    if not rest:
        return []
    scoring = Scoring(tuple((token_id,) for token_id in rest), (0,))
    params = SamplingParams(max_tokens=len(rest), temperature=0, ignore_eos=True)
    plain = replace(request, grammar=None, thinking=None, barred_sequences=())
    return [replace(plain, token_ids=(first,), params=params, scoring=scoring)]


def with_prompts(completion: Completion, prompt: Prompt, tickets: Sequence[Ticket]) -> Completion:
    """Return a completion whose texts and log-probabilities begin with those of the prompts.

    Args:
        completion: The result of the line without its prompts.
        prompt: The line.
        tickets: Fulfilled tickets of the line's requests, those of `prompt_scoring` among them.
    """
    scored = {_scored_ids(each): each.future.result().logprobs for each in tickets if each.request.scoring is not None}
    generating = [each for each in tickets if each.request.scoring is None]
    parts = prompt.parts()
    choices = []
    for place, choice in enumerate(completion.choices):
        number = place // prompt.n
        ticket = generating[number * len(generating) // len(parts)]
        ids = ticket.request.token_ids
        found = scored.get(ids, ticket.future.result().logprobs)
        choices.append(_with_prompt(choice, parts[number], ids, found))
    usage = completion.usage
    if prompt.echo == "prompt" and usage is not None:
        usage = Usage(usage.prompt_tokens, 0)
    return structs.replace(completion.with_choices(choices), usage=usage)


def _scored_ids(ticket: Ticket) -> tuple[int, ...]:
    scoring = ticket.request.scoring
    assert scoring is not None
    return (*ticket.request.token_ids, *(ids[0] for ids in scoring.ids))


def _with_prompt(choice: Choice, part: Prompt, ids: tuple[int, ...], found: AnswerLogprobs | None) -> Choice:
    """Return a completion that begins with its prompt. The arguments are those of `echoed_prompt`."""
    prompt, logprobs = echoed_prompt(part, ids, found), choice.logprobs
    if prompt.logprobs is not None and logprobs is not None:
        logprobs = prompt.logprobs.then(logprobs) if part.echo == "all" else prompt.logprobs
    if part.echo == "all":
        return structs.replace(choice, text=prompt.text + choice.text, logprobs=logprobs)
    no_ids = None if choice.token_ids is None else ()
    return Choice(prompt.text, FinishReason.LENGTH, no_ids, logprobs=logprobs)


def echoed_prompt(part: Prompt, ids: tuple[int, ...], found: AnswerLogprobs | None) -> EchoedPrompt:
    """Return the prompt with which a completion begins.

    Args:
        part: The line with this prompt alone.
        ids: The prompt's tokens.
        found: Log-probabilities of these tokens after the first one, or only the bytes of the first one if it is alone.
            None if the line asks for none.
    """
    text = part.text
    if text is None:
        assert found is not None, "a prompt of token ids is only repeated with log-probabilities"
        text = b"".join(found.token_bytes[token_id] for token_id in ids).decode(errors="replace")
    if found is None:
        return EchoedPrompt(text, None)
    first = Logprobs(
        struct.pack("<i", ids[0]),
        struct.pack("<f", 0.0),
        token_bytes={ids[0]: found.token_bytes[ids[0]]},
        starts_bare=True,
    )
    return EchoedPrompt(text, first.then(packed(found)) if len(ids) > 1 else first)
