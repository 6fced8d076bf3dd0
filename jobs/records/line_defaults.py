"""Values of a job, beside its sampling settings, for lines that do not say."""

from __future__ import annotations

import msgspec

from jobs.records.constraint import FREE_TEXT, Constraint
from jobs.records.prompt import Prompt


class LineDefaults(msgspec.Struct, frozen=True, omit_defaults=True):
    """Defaults of a job for its lines. A line's own value overrides the job's value."""

    thinking: bool | None = None  # `enable_thinking` of the chat template; None for the template's own default
    constraint: Constraint | None = None  # form of the completions; None: any text
    score: tuple[str, ...] = ()  # choices to score, instead of completions

    def applied_to(self, prompt: Prompt) -> Prompt:
        """Return the prompt with the job's values where the line has none. A constraint of free text becomes None.

        A line that asks for embeddings, a ranking or probabilities of single tokens has no use for these values, and is
        returned unchanged.
        """
        if prompt.pools or prompt.labels is not None:
            return prompt
        constraint = prompt.constraint or self.constraint
        if constraint == FREE_TEXT:
            constraint = None
        if constraint is not prompt.constraint:
            prompt = msgspec.structs.replace(prompt, constraint=constraint)
        if self.score and not prompt.score:
            prompt = msgspec.structs.replace(prompt, score=self.score)
        if prompt.score:
            return _without_thought(prompt)
        if self.thinking is None or prompt.messages is None or "enable_thinking" in prompt.chat_template_kwargs:
            return prompt
        kwargs = {**prompt.chat_template_kwargs, "enable_thinking": self.thinking}
        return msgspec.structs.replace(prompt, chat_template_kwargs=kwargs)


def _without_thought(prompt: Prompt) -> Prompt:
    """Return a line whose answer begins at once, because a choice is not scored in the place of a thought."""
    if prompt.messages is None:
        return prompt
    return msgspec.structs.replace(
        prompt, chat_template_kwargs={"enable_thinking": False, **prompt.chat_template_kwargs}
    )


NO_LINE_DEFAULTS = LineDefaults()
