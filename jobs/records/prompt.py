"""One checked input line, independent of the file's format."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from jobs.records.constraint import Constraint
from jobs.records.sampling import NOTHING_SAID, SamplingSettings

MAX_N = 128  # max completions per prompt
MAX_CHOICES = 2048  # max completions per line, over all its prompts
MAX_SCORED = 256  # max choices of a line that asks for their scores
MAX_LOGPROBS = 20  # max likeliest tokens whose log-probabilities are named at each place, as in the OpenAI API
NO_COLUMNS = msgspec.Raw(b"")
Endpoint = Literal["native", "chat", "completions", "responses", "score", "embeddings", "rerank"]


class LabelWish(msgspec.Struct, frozen=True, omit_defaults=True):
    """Request of a line for the probabilities that some tokens follow each of its prompts."""

    token_ids: tuple[int, ...]
    softmax: bool = False  # True: shares that add up to 1, instead of probabilities among all tokens


class EmbedWish(msgspec.Struct, frozen=True, omit_defaults=True):
    """Wishes of a line that asks for embeddings of its prompts."""

    dimensions: int | None = None  # values of each embedding; None for all that the model has
    as_base64: bool = False  # True: results have the bytes of float32 values, in base64, instead of numbers
    instruction: str | None = None  # stands before each text, as Qwen3-Embedding wants the task of a query
    prompt_name: str | None = None  # name of the model's own words that stand before each text


class RerankWish(msgspec.Struct, frozen=True, omit_defaults=True):
    """Wishes of a line that compares documents, its prompts, with a query."""

    query: str
    instruction: str | None = None  # what makes a document relevant; None for the model's usual instruction
    top_n: int | None = None  # number of documents in the result; None for all of them
    return_documents: bool = False  # True: the result repeats the documents' texts


class Prompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a prompt file, as the store keeps it and a worker runs it.

    Exactly one of `text`, `token_ids`, `messages` and `invalid` is set. `more_prompts` may follow a text or token ids.
    A line with `invalid` is a bad line that
    `--skip-invalid` accepted. The worker does not run it, but writes an `invalid_line` result.
    """

    index: int  # position among the file's non-blank lines, from 0; results keep this order
    id: str  # unique in its job; empty for a bad line without its own id, which `line` identifies
    text: str | None = None  # raw text, tokenised without a template
    token_ids: tuple[int, ...] | None = None  # used unchanged
    messages: tuple[dict[str, Any], ...] | None = None  # rendered by the model's chat template
    endpoint: Endpoint = "native"  # decides the format of the result line
    settings: SamplingSettings = NOTHING_SAID
    return_token_ids: bool = False
    chat_template_kwargs: dict[str, Any] = {}
    constraint: Constraint | None = None  # None: the constraint of the job's defaults
    invalid: str | None = None  # the line's fault, for its author
    columns: msgspec.Raw = NO_COLUMNS  # the line's further keys with their values, one JSON object
    more_prompts: tuple[str | tuple[int, ...], ...] = ()  # further raw prompts of the same line, texts or token ids
    n: int = 1  # completions per prompt
    tools: tuple[dict[str, Any], ...] | None = None  # functions that the model may call, as the chat template gets them
    forces_calls: bool = False  # True: `constraint` allows only calls of `tools`
    tool_choice: Literal["auto", "none"] = "auto"  # none: tools are in the prompt, but calls stay in the text
    truncate_prompt_tokens: int | None = None  # max tokens of a prompt, which is cut; -1 for what fits
    truncation_side: Literal["left", "right"] = "left"  # side of a prompt that is cut off
    include_reasoning: bool = True  # False: results leave out the text of the thought
    logprobs: int | None = None  # likeliest tokens to name beside each token; None: the result has no log-probabilities
    echo: Literal["prompt", "all"] | None = None  # all: the text begins with the prompt; prompt: and ends with it
    labels: LabelWish | None = None  # not None: the line wants probabilities of single tokens, and no completion
    score: tuple[str, ...] = ()  # choices to score, instead of a completion; empty for the job's
    line: int | None = None  # the line's number in the file, from 1; only for a bad line without its own id
    source: str | None = None  # name of the line's file; only if the job was made of several files
    embed: EmbedWish | None = None  # not None: the line wants embeddings of its prompts
    rerank: RerankWish | None = None  # not None: the line's prompts are documents, which it wants to be ranked

    @property
    def pools(self) -> bool:
        """True if the line wants no completion, but what its prompts' last hidden states say."""
        return self.embed is not None or self.rerank is not None

    @property
    def num_choices(self) -> int:
        """Number of completions that the line asks for."""
        return self.n * (1 + len(self.more_prompts))

    @property
    def template_arguments(self) -> dict[str, Any]:
        """Arguments of the chat template, apart from the messages."""
        return self.chat_template_kwargs if self.tools is None else {**self.chat_template_kwargs, "tools": self.tools}

    def parts(self) -> tuple[Prompt, ...]:
        """Return a line for each of the line's prompts. A line with one prompt is its only part."""
        if not self.more_prompts:
            return (self,)
        first = msgspec.structs.replace(self, more_prompts=())
        return (first, *(_with_raw_prompt(first, prompt) for prompt in self.more_prompts))


def _with_raw_prompt(line: Prompt, prompt: str | tuple[int, ...]) -> Prompt:
    if isinstance(prompt, str):
        return msgspec.structs.replace(line, text=prompt, token_ids=None)
    return msgspec.structs.replace(line, text=None, token_ids=prompt)
