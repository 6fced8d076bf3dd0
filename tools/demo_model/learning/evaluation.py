"""Exact answers on held-out prompts.

One forward pass over a prompt and its expected answer checks the whole answer. Greedy decoding gives exactly this
answer if the largest logit at every place is the next token of the answer. The margin says how far the answer is from
failing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from tools.demo_model.data.chat_format import END_OF_TEXT, TURN_END, chat_prompt, thinking
from tools.demo_model.data.held_out import HeldOutPrompt
from tools.demo_model.learning.network import TrainingQwen3

_BATCH_SIZE = 64


@dataclass(frozen=True)
class Outcome:
    """The result of one prompt."""

    prompt: HeldOutPrompt
    margin: float  # min lead of a right token's logit over the next best; negative if the answer is wrong

    @property
    def is_exact(self) -> bool:
        """True if greedy decoding gives exactly the answer, and then stops."""
        return self.margin > 0


def _encode(tokenizer: Tokenizer, prompt: HeldOutPrompt, empty_thinking: bool) -> tuple[list[int], list[int]]:
    if isinstance(prompt.prompt, str):
        asked, answered = prompt.prompt, f" {prompt.answer}{END_OF_TEXT}"
    else:
        thought = "" if empty_thinking else thinking(prompt.thought)
        asked = chat_prompt(prompt.prompt, empty_thinking=empty_thinking)
        answered = thought + prompt.answer + TURN_END
    return tokenizer.encode(asked).ids, tokenizer.encode(answered).ids


def _least_margins(network: TrainingQwen3, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    longest = max(len(asked) + len(answered) for asked, answered in pairs)
    token_ids = torch.zeros(len(pairs), longest, dtype=torch.int64)
    places: list[int] = []
    targets: list[int] = []
    for row, (asked, answered) in enumerate(pairs):
        token_ids[row, : len(asked) + len(answered)] = torch.tensor(asked + answered)
        first = row * longest + len(asked) - 1
        places += range(first, first + len(answered))
        targets += answered
    positions = torch.arange(longest).expand_as(token_ids)
    # Padding follows the answer, so causal attention never reads it.
    logits = network(token_ids, positions, torch.zeros_like(token_ids), torch.tensor(places)).float()
    wanted = torch.tensor(targets)[:, None]
    lead = logits.gather(1, wanted)[:, 0] - logits.scatter(1, wanted, float("-inf")).amax(1)
    return [part.min().item() for part in lead.split([len(answered) for _, answered in pairs])]


@torch.inference_mode()
def evaluate(
    network: TrainingQwen3, tokenizer: Tokenizer, prompts: Sequence[HeldOutPrompt], *, empty_thinking: bool = False
) -> list[Outcome]:
    """Return an outcome for each prompt, in order. Chats have or lack the empty think block."""
    encoded = [_encode(tokenizer, prompt, empty_thinking) for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lambda index: len(encoded[index][0]) + len(encoded[index][1]))
    margins = [0.0] * len(prompts)
    for start in range(0, len(by_length), _BATCH_SIZE):
        indices = by_length[start : start + _BATCH_SIZE]
        for index, margin in zip(indices, _least_margins(network, [encoded[i] for i in indices]), strict=True):
            margins[index] = margin
    return [Outcome(prompt, margin) for prompt, margin in zip(prompts, margins, strict=True)]


def accuracy_by_task(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the share of exact answers per task, and over all tasks under "all"."""
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        hits[outcome.prompt.task].append(outcome.is_exact)
        hits["all"].append(outcome.is_exact)
    return {task: sum(exact) / len(exact) for task, exact in hits.items()}
