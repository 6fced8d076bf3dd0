"""Log-probabilities: the logarithm of the softmax over all tokens, with bits that depend on the row alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from model.sampling.fixed_point import WEIGHT_BITS, token_weights
from model.sampling.top_k import BlockedLogits, best_tokens

NO_NUMBER = -9999.0  # stands for a log-probability that is no number, as in the OpenAI API
_ROWS_AT_ONCE = 4  # whole-vocabulary weights take 1.2 MB per row; this many rows stay in a CPU's cache
_ROWS_AT_ONCE_ON_A_GPU = 64


@dataclass(frozen=True)
class LogSoftmax:
    """The log-softmax of some rows of logits. Single values are computed when they are asked for.

    The sum over the vocabulary is an integer (`model.sampling.fixed_point`). So it depends neither on the other rows
    nor on the number of threads. Its error changes a log-probability by less than 1e-6.
    """

    logits: torch.Tensor  # [n, vocab] float32
    blocked: BlockedLogits  # the same logits, with the maximum of each block
    log_sums: torch.Tensor  # [n] float64, logarithm of the sum of all tokens' exponentials

    @classmethod
    def of(cls, logits: torch.Tensor) -> LogSoftmax:
        """Sum up the rows of `logits` [n, vocab] float32, with vocab at most 2**19."""
        blocked = BlockedLogits.from_logits(logits)
        best = blocked.maxima.amax(-1)
        ones = torch.ones_like(best)
        size = _ROWS_AT_ONCE if logits.device.type == "cpu" else _ROWS_AT_ONCE_ON_A_GPU
        totals: list[int] = []
        for first in range(0, len(logits), size):
            part = slice(first, first + size)
            totals += token_weights(logits[part], best[part], ones[part]).sum(-1).tolist()
        logs = [math.log(total / 2**WEIGHT_BITS) if total > 0 else math.nan for total in totals]
        return cls(logits, blocked, best.double() + torch.tensor(logs, dtype=torch.float64, device=logits.device))

    def of_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities [n, m] float32 of tokens `ids` [n, m] int64."""
        return self._of_logits(self.logits.gather(1, ids))

    def largest(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the `count` likeliest tokens of each row, the likeliest first, and their log-probabilities.

        Returns:
            ids: [n, width] int64, where width is `count`, or less if the vocabulary is smaller.
            logprobs: [n, width] float32.
        """
        width = min(count, self.logits.shape[1])
        rows = torch.arange(len(self.logits), device=self.logits.device)
        ids, logits = best_tokens(self.blocked, rows, width)
        return ids, self._of_logits(logits)

    def _of_logits(self, logits: torch.Tensor) -> torch.Tensor:
        logprobs = (logits.double() - self.log_sums[:, None]).float()
        return logprobs.nan_to_num(nan=NO_NUMBER, neginf=NO_NUMBER, posinf=NO_NUMBER)
