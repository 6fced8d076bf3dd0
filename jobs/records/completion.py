"""One output line before it takes the shape of a format."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason


class ErrorCode(StrEnum):
    """Why a line has no completion."""

    INVALID_LINE = "invalid_line"
    PROMPT_TOO_LONG = "prompt_too_long"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    WORKER_LOST = "worker_lost"
    INTERNAL_ERROR = "internal_error"


class LineError(msgspec.Struct, frozen=True):
    """Why one line failed, for the person who wrote it."""

    code: ErrorCode
    message: str


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one line. `completion_tokens` counts the eos token, and a stop string's tokens, when they ended it."""

    prompt_tokens: int
    completion_tokens: int


class Latency(msgspec.Struct, frozen=True):
    """Times of one line from its arrival at the engine, in milliseconds, as vLLM's benchmarks define them."""

    ttft_ms: float  # to its first token
    tpot_ms: float | None  # mean per token after the first; None for a completion of one token
    e2el_ms: float  # to its last token


class Completion(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one line: either `text` with `finish_reason` and `usage`, or `error`."""

    index: int  # the line's `Prompt.index`
    id: str  # the line's `Prompt.id`, which is empty where `line` is given
    text: str | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    error: LineError | None = None
    token_ids: tuple[int, ...] | None = None  # only if the line asked for them
    endpoint: str = "native"  # the line's `Prompt.endpoint`
    finished_at: float = 0.0  # seconds since the epoch, by the worker's clock
    latency: Latency | None = None  # None for an error
    line: int | None = None  # the line's `Prompt.line`

    def __post_init__(self) -> None:
        if (self.text is None) == (self.error is None):
            raise ValueError("a completion has either a text or an error")

    @classmethod
    def failed(cls, index: int, id: str, code: ErrorCode, message: str, endpoint: str = "native") -> Completion:
        """The completion of a line that could not be completed."""
        return cls(index=index, id=id, error=LineError(code, message), endpoint=endpoint)

    @classmethod
    def failed_prompt(cls, prompt: Prompt, code: ErrorCode, message: str) -> Completion:
        """The completion of a prompt that could not be completed. It names the line as the prompt does."""
        return cls(prompt.index, prompt.id, error=LineError(code, message), endpoint=prompt.endpoint, line=prompt.line)
