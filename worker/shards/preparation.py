"""Convert the lines of a shard to engine requests or errors. A bad line never harms its neighbours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

from engine.request import Request
from engine.stopping.output_constraint import Grammar
from engine.stopping.thought import Thinking
from jobs.constraints.checker import check_settings
from jobs.constraints.grammar import grammar_of
from jobs.files.formats.features.thinking import check_switch
from jobs.files.formats.features.tools import check_tools
from jobs.files.formats.json_line import LineInvalid
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import NewJob
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingParams, SamplingSettings, line_seed
from model.text.text_encoder import Encoded, TooManyTokens
from model.thinking import ThinkingMode, ThinkingTokens
from worker.shards.line_result import failed_line

log = logging.getLogger(__name__)


MAX_TOKENS_BEFORE_TRUNCATION = 4_000_000  # of a prompt that is cut to the length that its line asks for


class PromptTokenizer(Protocol):
    """The tokenizer's interface for `Preparation` (`model.text.tokenizer.Tokenizer`). Results keep the inputs' order.

    An input of more than `max_tokens` tokens gives `TooManyTokens`, and one that cannot be encoded gives a ValueError.
    """

    def encode_batch(self, texts: Iterable[str], max_tokens: int) -> list[Encoded]:
        """Return the token ids of each text."""

    def encode_conversations(
        self, conversations: Iterable[tuple[object, Mapping[str, Any]]], max_tokens: int
    ) -> list[Encoded]:
        """Render each pair of messages and `chat_template_kwargs` with the chat template. Returns the token ids."""


class GrammarCompiler(Protocol):
    """The interface of `model.grammar.Grammars` for `Preparation`."""

    def compiled(self, text: str) -> Grammar:
        """Compile a grammar of `jobs.constraints.grammar`. Raises `ValueError` if it cannot be used."""


@dataclass(frozen=True)
class Prepared:
    """The lines of a shard, split into runnable and refused ones."""

    runnable: tuple[tuple[Prompt, tuple[Request, ...]], ...]  # each line with its requests
    refused: tuple[Completion, ...]  # error results for the store


class LineRefused(Exception):
    """A line cannot run."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Preparation:
    """Tokenises lines, completes their settings and refuses lines that cannot run. Thread-safe.

    Args:
        tokenizer: The model's tokenizer.
        card: The model's limits and sampling defaults.
        grammars: Compiles grammars for the tokenizer.
        thinking_tokens: The model's thinking tags; None if it has none.
    """

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        card: ModelCard,
        grammars: GrammarCompiler,
        thinking_tokens: ThinkingTokens | None = None,
    ) -> None:
        self._grammars = grammars
        self._tokenizer = tokenizer
        self._card = card
        self._thinking_tokens = thinking_tokens

    def prepare(
        self, prompts: Sequence[Prompt], job: NewJob, *, group: str, on_token: Callable[[int], None]
    ) -> Prepared:
        """Make the requests or an error result of each line.

        Args:
            prompts: Lines of one shard.
            job: The lines' job, for its defaults and its seed.
            group: Statistics group of the requests.
            on_token: Called by the engine for each new token of the requests.
        """
        lines = [job.line_defaults.applied_to(prompt) for prompt in prompts]
        parts = [line.parts() for line in lines]
        encoded = iter(self._encode([part for several in parts for part in several]))
        runnable: list[tuple[Prompt, tuple[Request, ...]]] = []
        refused: list[Completion] = []
        for line, several in zip(lines, parts, strict=True):
            pairs = [(part, next(encoded)) for part in several]  # all of them, also if one of them is refused
            try:
                requests = [self._requests(part, found, job, group, on_token) for part, found in pairs]
                runnable.append((line, tuple(chain.from_iterable(requests))))
            except LineRefused as error:
                refused.append(failed_line(line, error.code, error.message))
            except Exception as error:
                log.exception("line %r of job %s could not be prepared", line.id, job.id)
                refused.append(failed_line(line, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}"))
        return Prepared(tuple(runnable), tuple(refused))

    def _requests(
        self, part: Prompt, encoded: Encoded | None, job: NewJob, group: str, on_token: Callable[[int], None]
    ) -> list[Request]:
        """Return the requests of one prompt. Greedy completions are equal, so one request gives all of them."""
        token_ids = self._token_ids(part, encoded, job)
        self._check_against_card(part)
        thinking = self._thinking(part, token_ids)
        said = part.settings.over(job.defaults).over(self._card.defaults)
        params = self._params(said, self._room(token_ids), thinking, line_seed(job.seed, part.index))
        barred = self._barred_sequences(said.bad_words or ())
        grammar = self._grammar(part, said)
        seeds = [params.seed if choice == 0 else line_seed(params.seed, choice) for choice in range(part.n)]
        return [
            Request(token_ids, replace(params, seed=seed), group, job.id, on_token, barred, thinking, grammar)
            for seed in (seeds[:1] if params.greedy else seeds)
        ]

    def _encode(self, prompts: Sequence[Prompt]) -> list[Encoded | None]:
        """Encode all texts and conversations. If the batch raises, or a prompt needs no encoding, the result is None.

        Prompts without a result are encoded alone later, so that only the line at fault fails.
        """
        plain = [
            place for place, each in enumerate(prompts) if each.invalid is None and each.truncate_prompt_tokens is None
        ]
        texts = [place for place in plain if prompts[place].text is not None]
        chats = [place for place in plain if prompts[place].messages is not None]
        found: list[Encoded | None] = [None] * len(prompts)
        try:
            of_texts = self._tokenizer.encode_batch((prompts[place].text or "" for place in texts), self._longest)
            of_chats = self._tokenizer.encode_conversations(
                ((prompts[place].messages, prompts[place].template_arguments) for place in chats), self._longest
            )
        except Exception:
            log.debug("a batch cannot be encoded; encoding one by one", exc_info=True)
            return found
        for place, encoded in zip([*texts, *chats], [*of_texts, *of_chats], strict=True):
            found[place] = encoded
        return found

    def _token_ids(self, prompt: Prompt, encoded: Encoded | None, job: NewJob) -> tuple[int, ...]:
        if prompt.invalid is not None:
            raise LineRefused(ErrorCode.INVALID_LINE, prompt.invalid)
        if prompt.token_ids is not None:
            return self._truncated(self._inside_vocabulary(prompt.token_ids), prompt, job)
        if encoded is None:
            encoded = self._encode_alone(prompt)
        if isinstance(encoded, TooManyTokens):
            raise self._too_long(encoded.at_least, encoded.exact)
        if isinstance(encoded, ValueError):
            kind = "messages" if prompt.messages is not None else "prompt"
            raise LineRefused(ErrorCode.INVALID_LINE, f"The {kind} cannot be used: {encoded}.") from encoded
        return self._truncated(tuple(encoded), prompt, job)

    def _truncated(self, token_ids: tuple[int, ...], prompt: Prompt, job: NewJob) -> tuple[int, ...]:
        """Return the prompt's tokens, cut to the length that the line asks for."""
        count = prompt.truncate_prompt_tokens
        if count is None:
            return token_ids
        if count == -1:
            most = prompt.settings.over(job.defaults).max_tokens or 1
            count = max(1, self._card.max_model_len - most)
        return token_ids[-count:] if prompt.truncation_side == "left" else token_ids[:count]

    def _encode_alone(self, prompt: Prompt) -> Encoded:
        longest = self._longest if prompt.truncate_prompt_tokens is None else MAX_TOKENS_BEFORE_TRUNCATION
        if prompt.messages is not None:
            conversation = (prompt.messages, prompt.template_arguments)
            (encoded,) = self._tokenizer.encode_conversations([conversation], longest)
        else:
            (encoded,) = self._tokenizer.encode_batch([prompt.text or ""], longest)
        return encoded

    def _barred_sequences(self, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Return the tokens of words that must not be completed, as vLLM does: with and without a space before.

        With a space, a word counts only if it is as many tokens and begins with another one.
        """
        if not words:
            return ()
        texts = [text for word in words for text in (word.lstrip(), f" {word.lstrip()}")]
        found = []
        for word, encoded in zip(texts, self._tokenizer.encode_batch(texts, self._longest), strict=True):
            if not isinstance(encoded, list):
                raise LineRefused(ErrorCode.INVALID_LINE, f"`bad_words` holds {word[:40]!r}, which cannot be encoded.")
            found.append(tuple(encoded))
        pairs = zip(found[::2], found[1::2], strict=True)
        return tuple(
            ids
            for bare, spaced in pairs
            for ids in ((bare, spaced) if len(spaced) == len(bare) and spaced[0] != bare[0] else (bare,))
        )

    def _inside_vocabulary(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        outside = next((token for token in token_ids if not 0 <= token < self._card.vocab_size), None)
        if outside is not None:
            message = (
                f"The prompt has the token id {outside}; this model has ids from 0 to {self._card.vocab_size - 1:,}."
            )
            raise LineRefused(ErrorCode.INVALID_LINE, message)
        return token_ids

    def _room(self, token_ids: Sequence[int]) -> int:
        """Return the number of tokens left for the completion, at least one. Raises `LineRefused`."""
        if not token_ids:
            raise LineRefused(ErrorCode.INVALID_LINE, "The prompt is empty: it has no tokens.")
        if len(token_ids) > self._longest:
            raise self._too_long(len(token_ids), exact=True)
        return self._card.max_model_len - len(token_ids)

    @property
    def _longest(self) -> int:
        """Max tokens of a prompt. It leaves one token of the context for the completion."""
        return self._card.max_model_len - 1

    def _too_long(self, num_tokens: int, exact: bool) -> LineRefused:
        return LineRefused(
            ErrorCode.PROMPT_TOO_LONG,
            f"The prompt has {'' if exact else 'at least '}{num_tokens:,} tokens; this worker allows at most "
            f"{self._longest:,}. The model, `--max-model-len` or `--kv-cache-memory` sets this limit.",
        )

    def _check_against_card(self, prompt: Prompt) -> None:
        """Refuse a line that asks for something that the model's chat template ignores."""
        try:
            check_switch(prompt, self._card)
            check_tools(prompt, self._card)
        except LineInvalid as error:
            raise LineRefused(ErrorCode.INVALID_LINE, f"{error}.") from error

    def _thinking(self, prompt: Prompt, token_ids: Sequence[int]) -> Thinking | None:
        """Return how the line may think, or None if it cannot. Refuses a switch that the chat template ignores."""
        tokens = self._thinking_tokens
        if prompt.messages is None or tokens is None:
            return None
        mode, switch = tokens.mode(token_ids), prompt.chat_template_kwargs.get("enable_thinking")
        if (switch is False and mode is ThinkingMode.OPEN) or (switch is True and mode is ThinkingMode.OFF):
            wrong = str(switch).lower()
            raise LineRefused(
                ErrorCode.INVALID_LINE,
                f"`enable_thinking` is {wrong}, but the model's chat template ignores it; leave it out.",
            )
        if mode is ThinkingMode.OFF:
            return None
        return Thinking(tokens.start_id, tokens.end_id, mode is ThinkingMode.OPEN, tokens.closing_ids)

    def _grammar(self, prompt: Prompt, said: SamplingSettings) -> Grammar | None:
        """Compile the grammar of the line's constraint. Raises `LineRefused`."""
        if prompt.constraint is None:
            return None
        try:
            check_settings(said)
            return self._grammars.compiled(grammar_of(prompt.constraint))
        except LineInvalid as error:
            raise LineRefused(ErrorCode.INVALID_LINE, f"{error}.") from error
        except ValueError as error:
            raise LineRefused(ErrorCode.INVALID_LINE, f"The constraint cannot be used: {error}.") from error

    def _params(self, said: SamplingSettings, room: int, thinking: Thinking | None, seed: int) -> SamplingParams:
        """Complete the settings of a line.

        Args:
            said: The line's settings over the job's over the model's.
            room: Number of tokens that the context leaves for the completion.
            thinking: How the line may think.
            seed: Seed of a line without its own.
        """
        budget, most = said.thinking_token_budget, said.max_tokens
        if thinking is not None and budget is not None and most is not None:
            needed = budget + len(thinking.closing_ids)
            if most <= needed:
                raise LineRefused(
                    ErrorCode.INVALID_LINE,
                    f"`max_tokens` is {most:,}; with a thinking budget of {budget:,} tokens it must be more than "
                    f"{needed:,}.",
                )
        return SamplingParams.resolve(said, max_tokens=room, seed=seed)
