"""Check what the completions of a file's lines must look like."""

from __future__ import annotations

import msgspec

from jobs.constraints.checker import ConstraintChecker, check_settings
from jobs.constraints.tool_calls import num_strict, strict_calls
from jobs.files.formats.fields import Notes
from jobs.files.formats.json_line import LineInvalid
from jobs.records.constraint import Constraint
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings


class LineConstraints:
    """Checks the constraints that lines ask for, the job's constraint, and the schemas of strict tools.

    Args:
        notes: Gets what deserves a notice.
        defaults: The job's settings.
        of_job: The job's constraint, for lines without their own.
        card: Facts of the model; None if they are unknown.
    """

    def __init__(
        self, notes: Notes, defaults: SamplingSettings, of_job: Constraint | None, card: ModelCard | None
    ) -> None:
        self._notes = notes
        self._defaults = defaults
        self._of_job = of_job
        self._card = card
        self._checker = ConstraintChecker(notes)
        self._suiting: SamplingSettings | None = None  # the last settings that suit a constraint

    def checked(self, prompt: Prompt) -> Prompt:
        """Return the prompt with its constraint as the store keeps it. Raises `LineInvalid`."""
        if prompt.pools or prompt.labels is not None:
            self._notes.without_text += 1
            return prompt
        own, of_job = prompt.constraint, self._of_job
        constraint = of_job if own is None else own
        is_free = constraint is None or constraint.kind == "text"
        if prompt.tools is not None:
            self._check_strict_tools(prompt, is_free)
        if constraint is None:
            return prompt
        if is_free:
            return prompt if of_job is not None else msgspec.structs.replace(prompt, constraint=None)
        self._check_settings(prompt.settings)
        checked = (self._of_calls if prompt.forces_calls else self._checker.checked)(constraint)
        return prompt if own is None or checked is own else msgspec.structs.replace(prompt, constraint=checked)

    def _check_strict_tools(self, prompt: Prompt, is_free: bool) -> None:
        """Check the schemas of strict tools that the model may call by itself. Raises `LineInvalid`.

        A notice says where `strict` has no effect: beside another constraint, and without calls. If the model is
        unknown, it counts as one that writes calls as JSON.
        """
        written = "hermes" if self._card is None else self._card.tools
        calls = strict_calls(prompt, written) if is_free and written is not None else None
        if calls is not None:
            self._check_settings(prompt.settings)
            self._of_calls(calls)
        elif not prompt.forces_calls and (count := num_strict(prompt.tools or ())):
            self._notes.ignored["tools[].function.strict"] += count

    def _of_calls(self, calls: Constraint) -> Constraint:
        try:
            return self._checker.checked(calls)
        except LineInvalid as error:
            raise LineInvalid(str(error).replace("the grammar", "a schema of `tools`", 1)) from None

    def _check_settings(self, settings: SamplingSettings) -> None:
        if settings is not self._suiting:
            check_settings(settings, self._defaults)
            self._suiting = settings
