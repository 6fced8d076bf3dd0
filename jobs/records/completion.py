"""The result of one line, independent of the output format."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason


class ErrorCode(StrEnum):
    """Reason why a line has no completion."""

    INVALID_LINE = "invalid_line"
    PROMPT_TOO_LONG = "prompt_too_long"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    WORKER_LOST = "worker_lost"
    INTERNAL_ERROR = "internal_error"


class LineError(msgspec.Struct, frozen=True):
    """Reason why one line failed, for the author of the line."""

    code: ErrorCode
    message: str


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one line. `completion_tokens` includes the eos token or stop string that ended the completion."""

    prompt_tokens: int
    completion_tokens: int


class Latency(msgspec.Struct, frozen=True):
    """Latencies of one line in milliseconds, counted from its arrival at the engine, as in vLLM's benchmarks."""

    ttft_ms: float  # time to the first token
    tpot_ms: float | None  # mean time per token after the first; None for a completion of one token
    e2el_ms: float  # time to the last token


class Completion(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one line: either `text` with `finish_reason` and `usage`, or `error`."""

    index: int  # the line's `Prompt.index`
    id: str  # the line's `Prompt.id`, which is empty if `line` is set
    text: str | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    error: LineError | None = None
    token_ids: tuple[int, ...] | None = None  # only if the line requested them
    endpoint: str = "native"  # the line's `Prompt.endpoint`
    finished_at: float = 0.0  # seconds since the epoch, by the worker's clock
    latency: Latency | None = None  # None for an error
    line: int | None = None  # the line's `Prompt.line`

    def __post_init__(self) -> None:
        if (self.text is None) == (self.error is None):
            raise ValueError("a completion has either a text or an error")

    @classmethod
    def failed(cls, index: int, id: str, code: ErrorCode, message: str, endpoint: str = "native") -> Completion:
        """Return the error result of a line."""
        return cls(index=index, id=id, error=LineError(code, message), endpoint=endpoint)

    @classmethod
    def failed_prompt(cls, prompt: Prompt, code: ErrorCode, message: str) -> Completion:
        """Return the error result of a prompt, with the prompt's index, id, endpoint and line number."""
        return cls(prompt.index, prompt.id, error=LineError(code, message), endpoint=prompt.endpoint, line=prompt.line)
