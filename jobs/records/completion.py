"""The result of one line, independent of the output format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts of one line. `completion_tokens` includes the eos token or stop string that ended the completion."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = None  # tokens of the thought, up to the end tag; None if the model did not think


class Latency(msgspec.Struct, frozen=True):
    """Latencies of one line in milliseconds, counted from its arrival at the engine, as in vLLM's benchmarks."""

    ttft_ms: float  # time to the first token
    tpot_ms: float | None  # mean time per token after the first; None for a completion of one token
    e2el_ms: float  # time to the last token


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a function that the line gives to the model."""

    name: str
    arguments: str  # JSON


class Logprobs(msgspec.Struct, frozen=True, omit_defaults=True):
    """Log-probabilities of the tokens of a completion's text, packed: as JSON texts they would take six times the room.

    `jobs.files.results.parts.logprobs` reads them. All numbers are little-endian.
    """

    token_ids: bytes  # int32, one per token
    own: bytes  # float32, log-probability of each of these tokens
    top_ids: bytes = b""  # int32, for each token the same number of likeliest tokens, the likeliest first
    top: bytes = b""  # float32, log-probability of each of them
    token_bytes: dict[int, bytes] = {}  # the bytes of each token that is named
    ended_by_token: bool = False  # True: the last token ended the completion, and is no part of the text
    starts_bare: bool = False  # True: the first token begins the prompt, so it has neither a value nor likeliest tokens

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return len(self.token_ids) // 4

    def then(self, following: Logprobs) -> Logprobs:
        """Return these tokens and those that follow them as one record."""
        return Logprobs(
            self.token_ids + following.token_ids,
            self.own + following.own,
            self.top_ids + following.top_ids,
            self.top + following.top,
            self.token_bytes | following.token_bytes,
            following.ended_by_token,
            self.starts_bare,
        )

    def each_token(self) -> Iterator[Logprobs]:
        """Iterate over records of one token each, which together are this one."""
        bare = int(self.starts_bare)
        width = len(self.top_ids) // max(1, self.num_tokens - bare)  # bytes of the likeliest tokens of one place
        for place in range(self.num_tokens):
            own = slice(4 * place, 4 * place + 4)
            top = slice((place - bare) * width, (place - bare + 1) * width)  # empty for a bare token
            yield Logprobs(
                self.token_ids[own],
                self.own[own],
                self.top_ids[top],
                self.top[top],
                self.token_bytes,
                self.ended_by_token and place == self.num_tokens - 1,
                self.starts_bare and place == 0,
            )


class Score(msgspec.Struct, frozen=True):
    """Score of one of a line's choices: the likelihood that the model gives it as the next text."""

    choice: str
    logprob: float  # sum over the choice's tokens
    num_tokens: int
    is_greedy: bool  # True: the model finds no other token likelier at any place of the choice
    prob: float  # share of the probability of all of the line's choices, which add up to 1


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the completions of a line that asks for several."""

    text: str  # empty if it ended inside its thought
    finish_reason: FinishReason
    token_ids: tuple[int, ...] | None = None  # only if the line requested them
    reasoning: str | None = None  # text of the thought; None if there is none, or if the line does not want it
    ended_in_thought: bool = False  # True: there is nothing after the thought
    stop_reason: str | int | None = None  # the stop string or the id of the stop token that ended it, if one did
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: Logprobs | None = None  # only if the line requested them


class RankedDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document of a line that ranks documents."""

    index: int  # place of the document among the line's documents, from 0
    score: float  # 0 to 1: how probable it is that the document is relevant
    text: str | None = None  # only if the line wants the documents back


class Completion(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one line: `text` with `finish_reason` and `usage`, or `error`.

    A line that asks for embeddings has `embeddings` instead of a text, and a line that ranks documents has `ranking`.

    If the line asks for several completions, the fields of this record are those of the first one. `usage` counts the
    prompts once, and the tokens of all completions.
    """

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
    reasoning: str | None = None  # text of the thought; None if there is none, or if the line does not want it
    ended_in_thought: bool = False  # True: there is nothing after the thought
    stop_reason: str | int | None = None  # the stop string or the id of the stop token that ended it, if one did
    tool_calls: tuple[ToolCall, ...] = ()
    more_choices: tuple[Choice, ...] = ()  # the further completions
    malformed_tool_calls: int = 0  # calls of all completions that are not whole, and so are a part of the text
    cut_structured_outputs: int = 0  # completions that reached `max_tokens` before their constraint let them end
    quantize: str = "none"  # quantisation of the weights that made it: none, int8 or int4
    logprobs: Logprobs | None = None  # only if the line requested them
    scores: tuple[Score, ...] = ()  # only if the line asks for scores. Then `text` is the likeliest choice
    label_probs: tuple[tuple[float, ...], ...] = ()  # per prompt, of each label (`LabelWish`). Then `text` is empty
    embeddings: tuple[bytes, ...] = ()  # one per prompt: little-endian float32
    as_base64: bool = False  # True: results show embeddings in base64 (`EmbedWish.as_base64`)
    ranking: tuple[RankedDocument, ...] = ()  # the most relevant document first

    def __post_init__(self) -> None:
        kinds = (self.text is not None, bool(self.embeddings), bool(self.ranking), self.error is not None)
        if sum(kinds) != 1:
            raise ValueError("a completion has a text, embeddings, a ranking or an error")

    @property
    def pools(self) -> bool:
        """True if the line asks for embeddings or a ranking. It may have failed."""
        return self.endpoint in ("embeddings", "rerank")

    @property
    def has_cut_output(self) -> bool:
        """True if structured output is incomplete. False if the completion ended in its thought: there is no output."""
        return self.cut_structured_outputs > 0 and not self.ended_in_thought

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All completions of the line. Empty for an error."""
        if self.text is None or self.finish_reason is None:
            return ()
        first = Choice(
            self.text,
            self.finish_reason,
            self.token_ids,
            self.reasoning,
            self.ended_in_thought,
            self.stop_reason,
            self.tool_calls,
            self.logprobs,
        )
        return (first, *self.more_choices)

    def with_choices(self, choices: Sequence[Choice]) -> Completion:
        """Return the result with these completions, at least one, in the place of its own."""
        first, *more = choices
        return msgspec.structs.replace(self, **msgspec.structs.asdict(first), more_choices=tuple(more))

    def amounts(self) -> dict[str, int]:
        """Return the line's part of the job's sums that most lines do not change. It has no zeros."""
        found = {
            "reasoning_tokens": (self.usage and self.usage.reasoning_tokens) or 0,
            "malformed_tool_calls": self.malformed_tool_calls,
            "cut_structured_outputs": self.cut_structured_outputs,
            "quantized_lines": int(self.quantize != "none"),
        }
        return {name: amount for name, amount in found.items() if amount}

    @classmethod
    def failed(cls, index: int, id: str, code: ErrorCode, message: str, endpoint: str = "native") -> Completion:
        """Return the error result of a line."""
        return cls(index=index, id=id, error=LineError(code, message), endpoint=endpoint)

    @classmethod
    def failed_prompt(cls, prompt: Prompt, code: ErrorCode, message: str) -> Completion:
        """Return the error result of a prompt, with the prompt's index, id, endpoint and line number."""
        return cls(prompt.index, prompt.id, error=LineError(code, message), endpoint=prompt.endpoint, line=prompt.line)
