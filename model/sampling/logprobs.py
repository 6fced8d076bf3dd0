"""Log-probabilities: the logarithm of the softmax over all tokens, with bits that depend on the row alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from model.kernels.library import kernels_loaded
from model.sampling.fixed_point import WEIGHT_BITS, token_weights
from model.sampling.top_k import BlockedLogits, best_tokens

NO_NUMBER = -9999.0  # stands for a log-probability that is no number, as in the OpenAI API
_ROWS_AT_ONCE = 4  # whole-vocabulary weights take 1.2 MB per row; this many rows stay in a CPU's cache
_ROWS_AT_ONCE_ON_A_GPU = 64
_KERNEL_TYPES = (torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class LogSoftmax:
    """The log-softmax of some rows of logits. Single values are computed when they are asked for.

    The sum over the vocabulary is an integer (`model.sampling.fixed_point`). So it depends neither on the other rows
    nor on the number of threads. Its error changes a log-probability by less than 1e-6.
    """

    logits: torch.Tensor  # [n, vocab]
    log_sums: torch.Tensor  # [n] float64 on the CPU, logarithm of the sum of all tokens' exponentials
    top_ids: torch.Tensor  # [n, width] int64, the likeliest tokens, the likeliest first; on ties, the lowest id
    top_logits: torch.Tensor  # [n, width] float32, their logits

    @classmethod
    def of(cls, logits: torch.Tensor, count: int = 1) -> LogSoftmax:
        """Sum up rows of logits, and find their likeliest tokens.

        On a CPU with our kernels, one kernel does both. Its exponentials differ from PyTorch's in the last bit.

        Args:
            logits: [n, vocab] in any floating type, with vocab at most 2**19. Must not change afterwards.
            count: Number of likeliest tokens to find per row. If the vocabulary is smaller, all tokens are found.
        """
        width = min(count, logits.shape[1])
        if logits.device.type == "cpu" and logits.dtype in _KERNEL_TYPES and kernels_loaded():
            sums = torch.ops.qwen_batch_cpu.log_softmax_sums(logits.contiguous(), width)
        else:
            sums = _plain_sums(logits.float(), width)
        best, totals, top_ids, top_logits = sums
        logs = [math.log(total / 2**WEIGHT_BITS) if total > 0 else math.nan for total in totals.tolist()]
        log_sums = best.cpu().double() + torch.tensor(logs, dtype=torch.float64)  # MPS has no float64
        return cls(logits, log_sums, top_ids, top_logits)

    def of_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities [n, m] float32, on the CPU, of tokens `ids` [n, m] int64."""
        return self._of_logits(self.logits.gather(1, ids))

    def of_likeliest(self) -> torch.Tensor:
        """Return the log-probabilities [n, width] float32, on the CPU, of the tokens in `top_ids`."""
        return self._of_logits(self.top_logits)

    def _of_logits(self, logits: torch.Tensor) -> torch.Tensor:
        logprobs = (logits.cpu().double() - self.log_sums[:, None]).float()
        return logprobs.nan_to_num(nan=NO_NUMBER, neginf=NO_NUMBER, posinf=NO_NUMBER)


def _plain_sums(logits: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Do in PyTorch what `log_softmax.cpp` does.

    Args:
        logits: [n, vocab] float32.
        width: Number of likeliest tokens to find per row, at most vocab.

    Returns:
        best: [n] float32, the largest logit of each row.
        totals: [n] int64, the sum of the tokens' weights. It is at most 0 if a logit is no number.
        ids: [n, width] int64, as `LogSoftmax.top_ids`.
        values: [n, width] float32, their logits.
    """
    blocked = BlockedLogits.from_logits(logits)
    best = blocked.maxima.amax(-1)
    ones = torch.ones_like(best)
    size = _ROWS_AT_ONCE if logits.device.type == "cpu" else _ROWS_AT_ONCE_ON_A_GPU
    totals = [
        token_weights(logits[part], best[part], ones[part]).sum(-1)
        for part in (slice(first, first + size) for first in range(0, len(logits), size))
    ]
    ids, values = best_tokens(blocked, torch.arange(len(logits), device=logits.device), width)
    return best, torch.cat(totals), ids, values
