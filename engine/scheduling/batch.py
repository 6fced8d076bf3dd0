"""The batch: the sequences and token counts of one step."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Literal, NamedTuple

from engine.scheduling.sequence import Sequence

Phase = Literal["prefill", "decode", "mixed"]


class PageCopy(NamedTuple):
    """A page whose contents another page gets."""

    source: int
    target: int


@dataclass(frozen=True)
class Batch:
    """Sequences that share a step. Sequence i feeds `tokens[num_computed : num_computed + num_tokens[i]]`.

    Create one with `prefill`, `decode` or `mixed`, before the step changes any `num_computed`.
    """

    num_decodes: int  # number of sequences, at the front, that feed one token each to the decode kernel
    sequences: tuple[Sequence, ...]
    num_tokens: tuple[int, ...]
    sampling: tuple[int, ...]  # indices into `sequences` of those whose last known token is in this step
    copies: tuple[PageCopy, ...] = ()  # to be done before the step writes to any page, as if all at once

    @classmethod
    def prefill(cls, sequences: Items[Sequence], num_tokens: Items[int]) -> Batch:
        """Return a step over prompts, or over the next chunks of them."""
        return cls._of(0, sequences, num_tokens)

    @classmethod
    def decode(cls, sequences: Items[Sequence]) -> Batch:
        """Return a step over one token of each sequence."""
        return cls._of(len(sequences), sequences, (1,) * len(sequences))

    @classmethod
    def mixed(cls, decoding: Items[Sequence], prompts: Items[Sequence], num_tokens: Items[int]) -> Batch:
        """Return a step over one token of each sequence in `decoding` and over prompts or their next chunks."""
        return cls._of(len(decoding), (*decoding, *prompts), (*(1,) * len(decoding), *num_tokens))

    @property
    def phase(self) -> Phase:
        """Kind of the batch's step: prefill, decode or mixed."""
        if self.num_decodes == 0:
            return "prefill"
        return "decode" if self.num_decodes == len(self.sequences) else "mixed"

    @classmethod
    def _of(cls, num_decodes: int, sequences: Items[Sequence], num_tokens: Items[int]) -> Batch:
        sampling = tuple(
            index
            for index, (sequence, count) in enumerate(zip(sequences, num_tokens, strict=True))
            if sequence.num_computed + count == len(sequence.tokens)
        )
        return cls(num_decodes, tuple(sequences), tuple(num_tokens), sampling)
