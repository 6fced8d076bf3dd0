"""Convert the lines of a shard to engine requests or errors. A bad line never harms its neighbours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from msgspec import structs

from engine.request import Pooling, Request
from engine.stopping.output_constraint import Grammar
from engine.stopping.thought import Thinking
from jobs.constraints.checker import check_settings
from jobs.constraints.grammar import grammar_of
from jobs.constraints.tool_calls import strict_calls
from jobs.files.formats.features.score import check_scoring
from jobs.files.formats.features.thinking import check_switch
from jobs.files.formats.features.tools import check_tools
from jobs.files.formats.json_line import LineInvalid
from jobs.files.formats.model_checks import check_answers_at_once, check_kind
from jobs.records.completion import Completion, ErrorCode
from jobs.records.job import NewJob
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import NOTHING_SAID, SamplingParams, SamplingSettings, line_seed
from model.text.text_encoder import Encoded
from model.thinking import ThinkingMode, ThinkingTokens
from worker.shards.likelihoods.echo import prompt_scoring
from worker.shards.likelihoods.scoring import ScoredPrompt, labels_scoring, scored_prompts
from worker.shards.line_result import failed_line
from worker.shards.prompt_encoder import LineRefused, PromptEncoder, PromptTokenizer

log = logging.getLogger(__name__)


class GrammarCompiler(Protocol):
    """The interface of `model.grammar.Grammars` for `Preparation`."""

    def compiled(self, text: str) -> Grammar:
        """Compile a grammar of `jobs.constraints.grammar`. Raises `ValueError` if it cannot be used."""


@dataclass(frozen=True)
class Prepared:
    """The lines of a shard, split into runnable and refused ones."""

    runnable: tuple[tuple[Prompt, tuple[Request, ...]], ...]  # each line with its requests
    refused: tuple[Completion, ...]  # error results for the store


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
        self._encoder = PromptEncoder(tokenizer, card)
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
        encoded = iter(self._encoder.encode([part for several in parts for part in several]))
        runnable: list[tuple[Prompt, tuple[Request, ...]]] = []
        refused: list[Completion] = []
        for line, several in zip(lines, parts, strict=True):
            pairs = [(part, next(encoded)) for part in several]  # all of them, also if one of them is refused
            try:
                requests = [self._requests(part, found, job, group, on_token) for part, found in pairs]
                runnable.append((line, tuple(chain.from_iterable(requests))))
            except LineRefused as error:
                refused.append(failed_line(self._as_known(line), error.code, error.message))
            except Exception as error:
                log.exception("line %r of job %s could not be prepared", line.id, job.id)
                refused.append(failed_line(line, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}"))
        return Prepared(tuple(runnable), tuple(refused))

    def _as_known(self, line: Prompt) -> Prompt:
        """Return the line as a result shows it. A bad line of an embedding model asked for an embedding."""
        if line.invalid is None or self._card.kind != "embedding":
            return line
        return structs.replace(line, endpoint="embeddings")

    def _requests(
        self, part: Prompt, encoded: Encoded | None, job: NewJob, group: str, on_token: Callable[[int], None]
    ) -> list[Request]:
        """Return the requests of one prompt. Greedy completions are equal, so one request gives all of them."""
        if part.pools:
            return [self._pooled_request(part, encoded, job, group)]
        said = part.settings.over(job.defaults).over(self._card.defaults)
        token_ids = self._encoder.token_ids(part, encoded, said.max_tokens)
        self._check_against_card(part)
        if part.labels is not None:
            scored = ScoredPrompt(token_ids, labels_scoring(part.labels))
            return [Request(token_ids, scored.params, group, job.id, on_token, scoring=scored.scoring)]
        if part.score:
            prompts = scored_prompts(part, token_ids, self._tokenizer, self._card.max_model_len)
            return [
                Request(each.token_ids, each.params, group, job.id, on_token, scoring=each.scoring) for each in prompts
            ]
        thinking = self._thinking(part, token_ids)
        room = self._card.max_model_len - len(token_ids)
        params = self._params(said, room, thinking, line_seed(job.seed, part.index))
        barred = self._encoder.barred_sequences(said.bad_words or ())
        grammar = self._grammar(part, said)
        if grammar is not None and self._card.thinking == "never":
            thinking = None  # the grammar must not let this model begin a thought, which it might never end
        seeds = [params.seed if choice == 0 else line_seed(params.seed, choice) for choice in range(part.n)]
        first = Request(token_ids, params, group, job.id, on_token, barred, thinking, grammar, logprobs=part.logprobs)
        scoring = prompt_scoring(first) if part.echo is not None and part.logprobs is not None else []
        used = seeds[:1] if params.greedy else seeds
        return [*scoring, *(replace(first, params=replace(params, seed=seed)) for seed in used)]

    def _pooled_request(self, part: Prompt, encoded: Encoded | None, job: NewJob, group: str) -> Request:
        """Return the request of one text that is embedded or ranked."""
        self._check_against_card(part)
        token_ids = self._encoder.token_ids(part, encoded, None)
        if part.embed is not None:
            pooling = Pooling(part.embed.dimensions)
        else:
            pooling = Pooling(label_ids=self._encoder.label_ids())
        return Request(token_ids, SamplingParams(max_tokens=1, temperature=0.0), group, job.id, pooling=pooling)

    def _check_against_card(self, prompt: Prompt) -> None:
        """Refuse a line that asks for something that the model does not make, or that its chat template ignores."""
        try:
            check_kind(prompt, self._card)
            check_switch(prompt, self._card)
            check_tools(prompt, self._card)
            if prompt.score:
                check_scoring(prompt)
                check_answers_at_once(prompt, self._card)
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
        """Compile the grammar of the line's constraint, or else of its strict tools. Raises `LineRefused`."""
        try:
            constraint = prompt.constraint
            if constraint is None and self._card.tools is not None:
                constraint = strict_calls(prompt, self._card.tools)
            if constraint is None:
                return None
            check_settings(said, NOTHING_SAID)
            return self._grammars.compiled(grammar_of(constraint))
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
        budget, max_tokens = said.thinking_token_budget, said.max_tokens
        if thinking is not None and budget is not None and max_tokens is not None:
            needed = budget + len(thinking.closing_ids)
            if max_tokens <= needed:
                raise LineRefused(
                    ErrorCode.INVALID_LINE,
                    f"`max_tokens` is {max_tokens:,}; with a thinking budget of {budget:,} tokens it must be more than "
                    f"{needed:,}.",
                )
        return SamplingParams.resolve(said, max_tokens=room, seed=seed)
