"""Values of a job, beside its sampling settings, for lines that do not say."""

from __future__ import annotations

import msgspec

from jobs.records.constraint import FREE_TEXT, Constraint
from jobs.records.prompt import Prompt


class LineDefaults(msgspec.Struct, frozen=True, omit_defaults=True):
    """Defaults of a job for its lines. A line's own value overrides the job's value."""

    thinking: bool | None = None  # `enable_thinking` of the chat template; None for the template's own default
    constraint: Constraint | None = None  # form of the completions; None: any text

    def applied_to(self, prompt: Prompt) -> Prompt:
        """Return the prompt with the job's values where the line has none. A constraint of free text becomes None."""
        constraint = prompt.constraint or self.constraint
        if constraint == FREE_TEXT:
            constraint = None
        if constraint is not prompt.constraint:
            prompt = msgspec.structs.replace(prompt, constraint=constraint)
        if self.thinking is None or prompt.messages is None or "enable_thinking" in prompt.chat_template_kwargs:
            return prompt
        kwargs = {**prompt.chat_template_kwargs, "enable_thinking": self.thinking}
        return msgspec.structs.replace(prompt, chat_template_kwargs=kwargs)


NO_LINE_DEFAULTS = LineDefaults()
