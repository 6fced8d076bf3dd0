"""What the model runs in one step."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Literal

from engine.sequence import Sequence

Phase = Literal["prefill", "decode"]


@dataclass(frozen=True)
class Batch:
    """Sequences that share a step. Sequence i feeds `tokens[num_computed : num_computed + num_tokens[i]]`.

    Build one with `prefill` or `decode`, before the step moves any `num_computed`.
    """

    phase: Phase
    sequences: tuple[Sequence, ...]
    num_tokens: tuple[int, ...]
    sampling: tuple[int, ...]  # indices into `sequences`: those whose last known token is in this step

    @classmethod
    def prefill(cls, sequences: Items[Sequence], num_tokens: Items[int]) -> Batch:
        """A step over prompts, or over the next chunks of them."""
        return cls._of("prefill", sequences, num_tokens)

    @classmethod
    def decode(cls, sequences: Items[Sequence]) -> Batch:
        """A step over one token of each sequence."""
        return cls._of("decode", sequences, (1,) * len(sequences))

    @classmethod
    def _of(cls, phase: Phase, sequences: Items[Sequence], num_tokens: Items[int]) -> Batch:
        sampling = tuple(
            index
            for index, (sequence, count) in enumerate(zip(sequences, num_tokens, strict=True))
            if sequence.num_computed + count == len(sequence.tokens)
        )
        return cls(phase, tuple(sequences), tuple(num_tokens), sampling)
