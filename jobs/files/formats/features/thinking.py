"""Read what a line says about thinking, and check it against the line's model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.files.formats import values
from jobs.files.formats.json_line import Json, LineInvalid, check_free_form, shown
from jobs.records.line_defaults import NO_LINE_DEFAULTS, LineDefaults
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import NOTHING_SAID, SamplingSettings

TEMPLATE_KEYS = ("chat_template_kwargs", "enable_thinking", "reasoning_effort")
CLOSING_TOKENS = 24  # tokens of the sentence that ends a thought at its budget, in Qwen3's tokenizer
ADVISED_BUDGET = 1024  # tokens; Qwen advises no smaller budget
# Variables that the worker sets, and names that the renderer itself uses.
_RESERVED = frozenset(
    {"add_generation_prompt", "chat_template", "continue_final_message", "documents", "messages", "self", "tokenize"}
    | {"tools"}
)


def read_template_kwargs(fields: dict[str, Json], is_chat: bool) -> dict[str, Json]:
    """Return the variables of the chat template that the line sets. Their other spellings count as well.

    Raises:
        LineInvalid: A value is wrong or a name is reserved, two spellings differ, or the line uses no template.
    """
    kwargs, thinking = fields.get("chat_template_kwargs"), _read_switch(fields)
    if kwargs is None and thinking is None:
        return {}
    if kwargs is not None and type(kwargs) is not dict:
        raise LineInvalid(
            f'`chat_template_kwargs` is {shown(kwargs)}; it must be an object, such as {{"enable_thinking": false}}'
        )
    if not is_chat:
        key = next(key for key in TEMPLATE_KEYS if fields.get(key) is not None)
        raise LineInvalid(f"`{key}` applies only to `messages`; a raw `prompt` uses no template")
    kwargs = kwargs or {}
    reserved = sorted(_RESERVED & kwargs.keys())
    if reserved:
        raise LineInvalid(f"`chat_template_kwargs` has {shown(reserved[0])}; a line cannot set this variable")
    check_free_form(kwargs, "chat_template_kwargs")
    if (inner := kwargs.get("enable_thinking")) is not None:
        values.boolean("chat_template_kwargs.enable_thinking", inner)
    if thinking is None:
        return kwargs
    if kwargs.get("enable_thinking", thinking) is not thinking:
        raise LineInvalid("`chat_template_kwargs` and another key of the line disagree about `enable_thinking`")
    return kwargs | {"enable_thinking": thinking}


def _read_switch(fields: dict[str, Json]) -> bool | None:
    """Return what `enable_thinking` or `reasoning_effort` says about thinking. None if the line has neither."""
    thinking, effort = fields.get("enable_thinking"), fields.get("reasoning_effort")
    said = None if thinking is None else values.boolean("enable_thinking", thinking)
    if effort is None:
        return said
    if effort not in ("none", "minimal"):  # OpenAI's models write no thought or a few words for "minimal"
        raise LineInvalid(
            f"`reasoning_effort` is {shown(effort)}; it is not supported: limit the thought with "
            '`thinking_token_budget`, or use "none"'
        )
    if said is True:
        raise LineInvalid(f"`enable_thinking` is true but `reasoning_effort` is {shown(effort)}")
    return False


def check_switch(prompt: Prompt, card: ModelCard) -> None:
    """Refuse a line whose wishes about thinking the model's chat template would ignore. Raises `LineInvalid`."""
    switch = prompt.chat_template_kwargs.get("enable_thinking")
    if switch is not None and (fault := switch_fault("`enable_thinking`", switch, card)) is not None:
        raise LineInvalid(fault)
    if prompt.settings.thinking_token_budget is not None and card.thinking == "never":
        raise LineInvalid(f"`thinking_token_budget` has no meaning: {card.name} does not think. Leave it out")


def switch_fault(name: str, switch: bool, card: ModelCard) -> str | None:
    """Return why a model cannot switch thinking on or off, or None if it can.

    Args:
        name: The key or option that says it.
        switch: True to switch thinking on.
        card: The model's facts.
    """
    if card.thinking == "always" and not switch:
        return (
            f"{name} is false, but {card.name} always thinks. Leave it out, or limit the thought with "
            "`thinking_token_budget`"
        )
    if card.thinking == "never" and switch:
        return f"{name} is true, but {card.name} does not think. Leave it out"
    return None


@dataclass(frozen=True)
class ThinkingRules:
    """The wishes about thinking of a file's lines and of their job's options.

    Args:
        defaults: The job's sampling settings.
        line_defaults: The job's other values for its lines.
        card: The model's facts; None if they are unknown.
    """

    defaults: SamplingSettings = NOTHING_SAID
    line_defaults: LineDefaults = NO_LINE_DEFAULTS
    card: ModelCard | None = None

    def concern(self, settings: SamplingSettings) -> bool:
        """Return whether a conversation with these settings may break a rule. It is false for most lines."""
        own, job = settings, self.defaults
        has_budget = own.thinking_token_budget is not None or job.thinking_token_budget is not None
        return has_budget or (job.temperature if own.temperature is None else own.temperature) == 0

    def check_budget(self, prompt: Prompt) -> None:
        """Refuse a line whose `max_tokens` leaves no room for an answer after the budget. Raises `LineInvalid`."""
        budget = self.budget_of(prompt)
        max_tokens = prompt.settings.max_tokens if prompt.settings.max_tokens is not None else self.defaults.max_tokens
        if budget is not None and max_tokens is not None and max_tokens <= budget + CLOSING_TOKENS:
            raise LineInvalid(
                f"`max_tokens` is {max_tokens:,}; it must be more than {budget + CLOSING_TOKENS:,}, which is the "
                f"thinking budget and the {CLOSING_TOKENS} tokens that end the thought"
            )

    def budget_of(self, prompt: Prompt) -> int | None:
        """Return the line's thinking budget in tokens. None if there is none, or if the line does not think."""
        own = prompt.settings.thinking_token_budget
        budget = self.defaults.thinking_token_budget if own is None else own
        return budget if budget is not None and self._switch(prompt) is not False else None

    def is_greedy_thought(self, prompt: Prompt) -> bool:
        """Return whether a line thinks with a temperature of 0, against the advice of its model.

        A model whose own temperature is 0 does not advise against it.
        """
        own, card = prompt.settings.temperature, self.card
        if card is not None and (card.thinking in (None, "never") or card.defaults.temperature == 0):
            return False
        if (self.defaults.temperature if own is None else own) != 0 or prompt.messages is None:
            return False
        switch = self._switch(prompt)
        if card is None:
            return switch is True
        return card.thinking == "always" or switch is not False

    def _switch(self, prompt: Prompt) -> bool | None:
        """Return whether the line's template switches thinking on. None for the template's own default."""
        if prompt.messages is None:
            return False
        said: Any = prompt.chat_template_kwargs.get("enable_thinking", self.line_defaults.thinking)
        return said if isinstance(said, bool) else None


NO_THINKING_RULES = ThinkingRules()  # for files that are read without a job
