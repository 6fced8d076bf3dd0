"""The batch: the sequences and token counts of one step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as Items
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal, NamedTuple, TypeAlias

from engine.scheduling.sequence import Sampled, Sequence
from engine.stopping.output_constraint import OutputConstraint

Phase = Literal["prefill", "decode", "mixed"]
Outcome: TypeAlias = int | Sampled | bytes
"""A step's output for a sequence after its last known token: a token id, and log-probabilities if it asks for them.

A sequence that pools gets the bytes of `RequestOutput.pooled` instead.
"""


class PageCopy(NamedTuple):
    """A page whose contents another page gets."""

    source: int
    target: int


@dataclass(frozen=True)
class Batch:
    """Sequences that share a step. Sequence i feeds its next `num_tokens[i]` tokens (`Sequence.fed`).

    A decoding sequence feeds one token, or several if they are known or drafted. For the decode kernel, each of them is
    a row with its own context length. So each row has the same bits as in a step of its own.

    Create one with `prefill`, `decode` or `mixed`, before the step changes any `num_computed`.
    """

    num_decodes: int  # number of sequences, at the front, whose tokens go to the decode kernel
    sequences: tuple[Sequence, ...]
    num_tokens: tuple[int, ...]
    # Indices into `sequences` of those whose last known token is in this step. A sequence with n drafted tokens stands
    # n + 1 times: after its last known token, and after each drafted one.
    sampling: tuple[int, ...]
    copies: tuple[PageCopy, ...] = ()  # to be done before the step writes to any page, as if all at once

    @classmethod
    def prefill(cls, sequences: Items[Sequence], num_tokens: Items[int]) -> Batch:
        """Return a step over prompts, or over the next chunks of them."""
        return cls._of(0, sequences, num_tokens)

    @classmethod
    def decode(cls, sequences: Items[Sequence], num_tokens: Items[int] | None = None) -> Batch:
        """Return a step over one token of each sequence, or over as many as `num_tokens` says."""
        return cls._of(len(sequences), sequences, num_tokens or (1,) * len(sequences))

    @classmethod
    def mixed(cls, decode: Batch, prompts: Items[Sequence], num_tokens: Items[int]) -> Batch:
        """Return a step over the tokens of a decode step and over prompts or their next chunks."""
        return cls._of(len(decode.sequences), (*decode.sequences, *prompts), (*decode.num_tokens, *num_tokens))

    @property
    def phase(self) -> Phase:
        """Kind of the batch's step: prefill, decode or mixed."""
        if self.num_decodes == 0:
            return "prefill"
        return "decode" if self.num_decodes == len(self.sequences) else "mixed"

    @cached_property
    def num_decode_rows(self) -> int:
        """Number of tokens that go to the decode kernel."""
        return sum(self.num_tokens[: self.num_decodes])

    @cached_property
    def constrained_rows(self) -> tuple[tuple[int, OutputConstraint], ...]:
        """Places in `sampling` of constrained sequences, with their constraints."""
        checkers = [self.sequences[index].stop_checker.constraint for index in self.sampling]
        return tuple((row, constraint) for row, constraint in enumerate(checkers) if constraint is not None)

    @cached_property
    def pooled_rows(self) -> tuple[int, ...]:
        """Places in `sampling` of sequences that pool instead of sampling a token."""
        return tuple(row for row, index in enumerate(self.sampling) if self.sequences[index].pools)

    @property
    def num_kernel_sequences(self) -> int:
        """Number of sequences that the kernels see: one per token that decodes, and one per prompt."""
        return self.num_decode_rows + len(self.sequences) - self.num_decodes

    @property
    def feeds_several(self) -> bool:
        """True if a sequence that decodes feeds several tokens."""
        return self.num_decode_rows > self.num_decodes

    def sampled_rows(self) -> list[tuple[int, int]]:
        """Return for each entry of `sampling` the index of its sequence and the number of drafted tokens before it."""
        if not self.feeds_several:
            return [(index, 0) for index in self.sampling]
        places: dict[int, int] = {}
        rows = []
        for index in self.sampling:
            place = places.get(index, 0)
            rows.append((index, place))
            places[index] = place + 1
        return rows

    def sampled_at(self) -> list[int]:
        """Return for each entry of `sampling` its place among the kernel's sequences."""
        if not self.feeds_several:
            return list(self.sampling)
        sizes = [*self.num_tokens[: self.num_decodes], *(1,) * (len(self.sequences) - self.num_decodes)]
        ends = list(accumulate(sizes))
        counts = Counter(self.sampling)
        return [ends[index] - counts[index] + place for index, place in self.sampled_rows()]

    @classmethod
    def _of(cls, num_decodes: int, sequences: Items[Sequence], num_tokens: Items[int]) -> Batch:
        sampling = tuple(
            index
            for index, (sequence, count) in enumerate(zip(sequences, num_tokens, strict=True))
            for _ in range(sequence.num_computed + count - len(sequence.tokens) + 1)
        )
        return cls(num_decodes, tuple(sequences), tuple(num_tokens), sampling)
