"""From the lines of a shard to requests for the engine, or to errors: nothing a line holds may harm its neighbours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.request import Request
from jobs.completion import Completion, ErrorCode
from jobs.job import NewJob
from jobs.model_card import ModelCard
from jobs.prompt import Prompt
from jobs.sampling import SamplingParams, line_seed
from worker.failed_line import failed_line

log = logging.getLogger(__name__)


class PromptTokenizer(Protocol):
    """What preparation needs of a tokenizer; `model.tokenizer.Tokenizer` is one."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text. Raises `ValueError` if one of them is not Unicode."""

    def encode_messages(self, messages: object, /, **chat_template_kwargs: Any) -> list[int]:  # noqa: ANN401
        """The ids of a conversation, through the chat template. Raises `ValueError` if that fails."""


@dataclass(frozen=True)
class Prepared:
    """The lines of a shard, parted."""

    runnable: tuple[tuple[Prompt, Request], ...]
    refused: tuple[Completion, ...]  # errors, ready to be stored


class LineRefused(Exception):
    """This line cannot run."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Preparation:
    """Tokenises lines, fills in their settings and refuses what cannot run. Thread-safe.

    Args:
        tokenizer: The model's.
        card: The model's limits and sampling defaults.
    """

    def __init__(self, tokenizer: PromptTokenizer, card: ModelCard) -> None:
        self._tokenizer = tokenizer
        self._card = card

    def prepare(
        self, prompts: Sequence[Prompt], job: NewJob, *, group: str, on_token: Callable[[int], None]
    ) -> Prepared:
        """Every line ends up in exactly one of the two parts.

        Args:
            prompts: Lines of one shard.
            job: Their job, for its defaults and its seed.
            group: The requests' statistics group.
            on_token: The requests' listener.
        """
        encoded = self._encode_texts(prompts)
        runnable: list[tuple[Prompt, Request]] = []
        refused: list[Completion] = []
        for prompt in prompts:
            try:
                token_ids = encoded.get(prompt.index) or self._token_ids(prompt)
                params = self._params(prompt, job, self._room(token_ids))
                runnable.append((prompt, Request(token_ids, params, group, job.id, on_token)))
            except LineRefused as error:
                refused.append(failed_line(prompt, error.code, error.message))
            except Exception as error:
                log.exception("line %r of job %s could not be prepared", prompt.id, job.id)
                refused.append(failed_line(prompt, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}"))
        return Prepared(tuple(runnable), tuple(refused))

    def _encode_texts(self, prompts: Sequence[Prompt]) -> dict[int, tuple[int, ...]]:
        """The ids of all raw texts, by line index; empty if one of them cannot be encoded: then each goes alone."""
        texts = {prompt.index: prompt.text for prompt in prompts if prompt.text is not None and prompt.invalid is None}
        try:
            ids = self._tokenizer.encode_batch(list(texts.values()))
        except Exception:
            log.debug("a text cannot be encoded; encoding one by one", exc_info=True)
            return {}
        return {index: tuple(row) for index, row in zip(texts, ids, strict=True)}

    def _token_ids(self, prompt: Prompt) -> tuple[int, ...]:
        if prompt.invalid is not None:
            raise LineRefused(ErrorCode.INVALID_LINE, prompt.invalid)
        if prompt.token_ids is not None:
            return self._inside_vocabulary(prompt.token_ids)
        kind, encode = (
            ("messages", self._encode_messages) if prompt.messages is not None else ("prompt", self._encode_text)
        )
        try:
            return tuple(encode(prompt))
        except ValueError as error:
            raise LineRefused(ErrorCode.INVALID_LINE, f"The {kind} cannot be used: {error}.") from error

    def _encode_messages(self, prompt: Prompt) -> list[int]:
        return self._tokenizer.encode_messages(prompt.messages, **prompt.chat_template_kwargs)

    def _encode_text(self, prompt: Prompt) -> list[int]:
        return self._tokenizer.encode_batch([prompt.text or ""])[0]

    def _inside_vocabulary(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        outside = next((token for token in token_ids if not 0 <= token < self._card.vocab_size), None)
        if outside is not None:
            message = f"The prompt has the token id {outside}; this model takes 0 to {self._card.vocab_size - 1:,}."
            raise LineRefused(ErrorCode.INVALID_LINE, message)
        return token_ids

    def _room(self, token_ids: Sequence[int]) -> int:
        """How many tokens the model's context leaves for the completion; at least one."""
        if not token_ids:
            raise LineRefused(ErrorCode.INVALID_LINE, "The prompt is empty: it has no tokens.")
        longest = self._card.max_model_len - 1
        if len(token_ids) > longest:
            message = (
                f"The prompt has {len(token_ids):,} tokens; this worker takes at most {longest:,}, which its model, "
                "`--max-model-len` or `--kv-cache-memory` sets."
            )
            raise LineRefused(ErrorCode.PROMPT_TOO_LONG, message)
        return self._card.max_model_len - len(token_ids)

    def _params(self, prompt: Prompt, job: NewJob, room: int) -> SamplingParams:
        """The line's settings over the job's over the model's."""
        said = prompt.settings.over(job.defaults).over(self._card.defaults)
        return SamplingParams.resolve(said, max_tokens=room, seed=line_seed(job.seed, prompt.index))
