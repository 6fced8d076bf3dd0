"""Exact answers on held-out prompts.

Greedy decoding gives exactly the expected answer if and only if, with the answer itself as input, the largest logit at
every place is the next token of the answer. So one forward pass checks a whole answer, and how far it is from
failing: its margin.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from tools.demo_model.chat_format import END_OF_TEXT, TURN_END, chat_prompt
from tools.demo_model.held_out import HeldOutPrompt
from tools.demo_model.network import TrainingQwen3

_BATCH_SIZE = 64


@dataclass(frozen=True)
class Outcome:
    """How one prompt went."""

    prompt: HeldOutPrompt
    margin: float  # the least lead of a right token's logit over the next best; negative where the answer is wrong

    @property
    def is_exact(self) -> bool:
        """Whether greedy decoding gives the answer, token for token, and then stops."""
        return self.margin > 0


def _encode(tokenizer: Tokenizer, prompt: HeldOutPrompt, empty_thinking: bool) -> tuple[list[int], list[int]]:
    if isinstance(prompt.prompt, str):
        asked, answered = prompt.prompt, f" {prompt.answer}{END_OF_TEXT}"
    else:
        asked, answered = chat_prompt(prompt.prompt, empty_thinking=empty_thinking), prompt.answer + TURN_END
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
    # Padding stands behind the answer, where causal attention never looks.
    logits = network(token_ids, positions, torch.zeros_like(token_ids), torch.tensor(places)).float()
    wanted = torch.tensor(targets)[:, None]
    lead = logits.gather(1, wanted)[:, 0] - logits.scatter(1, wanted, float("-inf")).amax(1)
    return [part.min().item() for part in lead.split([len(answered) for _, answered in pairs])]


@torch.inference_mode()
def evaluate(
    network: TrainingQwen3, tokenizer: Tokenizer, prompts: Sequence[HeldOutPrompt], *, empty_thinking: bool = False
) -> list[Outcome]:
    """An outcome for each prompt, in order; chats with or without the empty think block."""
    encoded = [_encode(tokenizer, prompt, empty_thinking) for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lambda index: len(encoded[index][0]) + len(encoded[index][1]))
    margins = [0.0] * len(prompts)
    for start in range(0, len(by_length), _BATCH_SIZE):
        indices = by_length[start : start + _BATCH_SIZE]
        for index, margin in zip(indices, _least_margins(network, [encoded[i] for i in indices]), strict=True):
            margins[index] = margin
    return [Outcome(prompt, margin) for prompt, margin in zip(prompts, margins, strict=True)]


def accuracy_by_task(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The share of exact answers of each task, and of all under "all"."""
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        hits[outcome.prompt.task].append(outcome.is_exact)
        hits["all"].append(outcome.is_exact)
    return {task: sum(exact) / len(exact) for task, exact in hits.items()}
