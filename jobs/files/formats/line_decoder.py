"""Decode the lines of a prompt file: detect the format, and keep ids unique."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import filterfalse

import msgspec

from jobs.files.file_places import FilePlaces
from jobs.files.formats.features.constraints import LineConstraints
from jobs.files.formats.features.last_assistant import (
    LastAssistant,
    continued,
    ends_with_assistant,
    reference_name,
    with_reference,
    without_last,
)
from jobs.files.formats.features.thinking import ADVISED_BUDGET, NO_THINKING_RULES, ThinkingRules
from jobs.files.formats.fields import Faults, Notes, read_id
from jobs.files.formats.json_line import Json, LineInvalid, raw_columns, shown
from jobs.files.formats.model_checks import check_against_card, same_model
from jobs.files.formats.native import NativeFormat
from jobs.files.formats.openai import OpenAIFormat
from jobs.files.formats.other_services import converted
from jobs.files.formats.seen_ids import BEFORE, LinesBefore, SeenIds
from jobs.files.reading.repeated_value import RepeatedValue
from jobs.files.reading.row import TemplatedRow
from jobs.records.constraint import Constraint
from jobs.records.job import Format
from jobs.records.model_card import ModelCard
from jobs.records.prompt import NO_COLUMNS, Endpoint, Prompt
from jobs.records.sampling import NOTHING_SAID, SamplingSettings


@dataclass(frozen=True)
class LineRules:
    """Rules against which the lines of a file are checked."""

    model: str | None = None  # the job's model, if a line may name no other model
    card: ModelCard | None = None  # facts of the model; None if unknown
    after: LinesBefore | None = None  # the job's existing lines; None for a new job
    keep: tuple[str, ...] | None = None  # columns to keep; None for all of them
    thinking: ThinkingRules = NO_THINKING_RULES  # what the job's options say about thinking
    last_assistant: LastAssistant = LastAssistant.ANSWER  # what to do with an assistant's message at the end
    defaults: SamplingSettings = NOTHING_SAID  # the job's settings
    constraint: Constraint | None = None  # the job's constraint, for lines without their own
    n: int = 1  # completions per prompt of lines that do not say


class LineDecoder:
    """Decodes the lines of one file, in order. The first line that is a JSON object decides the file's format.

    Args:
        rules: What the lines are checked against.
        places: Places of lines whose numbers run on over several files. None if there is one file.
    """

    def __init__(self, rules: LineRules = LineRules(), places: FilePlaces | None = None) -> None:
        self.notes = Notes()
        self._places = places
        self._rules = rules
        self._faults = Faults()  # faults of the current line
        self._repeated = RepeatedValue()
        self._reference: msgspec.Raw | None = None  # message that was removed from the current line
        self._constraints = LineConstraints(self.notes, rules.defaults, rules.constraint, rules.card)
        self._last_model: str | None = None  # the name that was checked last, because most files name one model
        settings = (self.notes, rules.keep or (), rules.card.tools if rules.card is not None else None)
        self._native, self._openai = NativeFormat(*settings), OpenAIFormat(*settings)
        self._chosen: NativeFormat | OpenAIFormat | None = None
        self._seen = rules.after.ids.copy() if rules.after is not None else SeenIds()
        self._names_from = rules.after.highest_number if rules.after is not None else 0

    @property
    def format(self) -> Format:
        """The file's format; native until the first JSON object."""
        return "openai" if self._chosen is self._openai else "native"

    def decode(self, line: bytes, index: int, number: int) -> Prompt:
        """Decode one line. If the line is bad, the prompt's `invalid` has one fault per text line. Never raises.

        Args:
            line: Bytes of the line. White space around the JSON is ignored.
            index: Position of the line among the non-blank lines, from 0.
            number: Line number in the file, from 1. With several files, it runs on over them. A good native line
                without an id gets `number` as its id, plus the highest number of `after`. A bad line without its own
                id gets `number` as its `line`.
        """
        try:
            said = self._repeated.decode(line)
        except LineInvalid as error:
            return self.refused(index, number, str(error))
        prompt, columns = self._decode(said, index, number)
        if columns is None and self._reference is None:
            return prompt
        return self._with_columns(prompt, columns or (), line)

    def decode_templated(self, row: TemplatedRow, index: int, number: int) -> Prompt:
        """Decode the line that a template made of a row. The prompt gets the row's columns. Never raises.

        The line is one of ours: it needs fewer checks than a line of a file.
        """
        native, line, faults = self._native, row.line, self._faults
        self._chosen = self._chosen or native
        own_id = self._begin(native.id_key, line, number)
        prompt = native.templated(line, (index, own_id or str(number + self._names_from)), self._rules.n, faults)
        if prompt is not None:
            prompt = self._allowed(prompt, faults)
        if prompt is not None and own_id is None:
            self._number(number)
        if prompt is None or faults.found:
            return _bad(index, own_id, number, native.endpoint_of(line), str(faults))
        return self._with_columns(prompt, row.names, row.columns)

    def _decode(self, original: dict[str, Json], index: int, number: int) -> tuple[Prompt, Iterable[str] | None]:
        """Decode the object of a line. Returns the prompt and the names of the line's columns, or None for none."""
        said, service = original, None
        body = original.get("body")
        if (body is None and not ("prompt" in original or "messages" in original)) or (
            type(body) is dict and "contents" in body  # the key of Gemini's requests
        ):
            service = converted(original)
            said = original if service is None else service.line
        format, faults = self._format_of(said), self._faults
        own_id = self._begin(format.id_key, said, number)
        if service is not None and service.fault is not None:
            faults.found.append(service.fault)
            prompt = None
        else:
            prompt = self._read(format, said, (index, own_id or str(number + self._names_from)), faults)
        if prompt is not None and own_id is None:  # a bad line's number stays free as an id for other lines
            self._number(number)
        if prompt is None or faults.found:
            if service is not None:
                faults.found[:] = map(service.named, faults.found)
            return _bad(index, own_id, number, format.endpoint_of(said), str(faults)), None
        no_columns = format.no_columns_of(prompt) if service is None else format.no_columns | service.used
        if self._native.keeps_prompt and original.get("messages") is not None:
            no_columns = no_columns - {"prompt"}
        if no_columns.issuperset(original):
            return prompt, None
        return prompt, filterfalse(no_columns.__contains__, original)

    def _begin(self, id_key: str, said: dict[str, Json], number: int) -> str | None:
        """Begin a line without faults, and register its own id.

        Returns the id. None if the line has none, or if the id cannot be used; then it is the line's first fault.
        """
        self._reference = None
        if self._faults.found:
            self._faults.found.clear()
        value = said.get(id_key)
        if value is None:
            return None
        try:
            id = read_id(id_key, value)
        except LineInvalid as error:
            self._faults.found.append(str(error))
            return None
        if (earlier := self._seen.add(id, number)) is not None:
            self._faults.found.append(self._taken(id, earlier))
            return None
        return id

    def _number(self, number: int) -> None:
        """Register the number of a line as its id. Adds to the line's faults if another line has this id."""
        as_id = number + self._names_from
        if (earlier := self._seen.add_number(as_id, number)) is not None:
            self._faults.found.append(self._taken(str(as_id), earlier))

    def _with_columns(self, prompt: Prompt, columns: Iterable[str], row: bytes | msgspec.Raw) -> Prompt:
        """Return the prompt with those of its row's columns that the rules keep. A bad line has no columns.

        Args:
            prompt: The prompt.
            columns: Names of columns.
            row: JSON object with the columns. If it is of type `Raw`, it has no other keys.
        """
        if prompt.invalid is not None:
            return prompt
        names, keep = tuple(columns), self._rules.keep
        kept = names if keep is None else tuple(name for name in names if name in keep)
        raw = NO_COLUMNS
        if keep is None and type(row) is msgspec.Raw:
            raw = row
        elif kept:
            raw = raw_columns(row, kept)
        if self._reference is not None:
            name = reference_name(names)
            if keep is None or name in keep:
                raw = with_reference(bytes(raw), name, self._reference)
                kept = (*kept, name)
        if not kept:
            return prompt
        self.notes.count_columns(kept)
        return msgspec.structs.replace(prompt, columns=raw)

    def refused(self, index: int, number: int, reason: str) -> Prompt:
        """Return the prompt for a line that cannot be decoded at all."""
        endpoint: Endpoint = "chat" if self.format == "openai" else "native"
        return _bad(index, None, number, endpoint, reason)

    def _format_of(self, said: dict[str, Json]) -> NativeFormat | OpenAIFormat:
        found = self._openai if "custom_id" in said or "body" in said else self._native
        self._chosen = self._chosen or found
        return found

    def _read(
        self, format: NativeFormat | OpenAIFormat, said: dict[str, Json], place: tuple[int, str], faults: Faults
    ) -> Prompt | None:
        if format is not self._chosen:
            faults.found.append(self._two_formats(format.name))
            return None
        model = format.model_of(said)
        if model is not None and model != self._last_model:
            faults.catch(self._check_model, format.model_key, model, default=None)
        elif model is not None:
            self.notes.models[model] += 1
        if self._rules.n > 1:
            said = format.with_n(said, self._rules.n)
        prompt = format.prompt_of(said, place, faults)
        return None if prompt is None else self._allowed(prompt, faults)

    def _allowed(self, prompt: Prompt, faults: Faults) -> Prompt | None:
        """Check a prompt against the rules. Adds to `faults`. Returns the prompt as the store keeps it."""
        rules = self._rules
        if prompt.messages is not None and ends_with_assistant(prompt):
            ended = faults.catch(self._ended, prompt, default=None)
            if ended is None:
                return None
            prompt = ended
        if rules.card is not None:
            faults.catch(check_against_card, prompt, rules.card, default=None)
        if prompt.settings is not NOTHING_SAID and prompt.settings.logit_bias is not None:
            self.notes.biased += 1
        if prompt.messages is not None and rules.thinking.concern(prompt.settings):
            self._check_thinking(prompt, faults)
        if prompt.constraint is not None or prompt.tools is not None or rules.constraint is not None:
            try:  # not `catch`: all lines of a job with a constraint come here
                return self._constraints.checked(prompt)
            except LineInvalid as error:
                faults.found.append(str(error))
                return None
        return prompt

    def _ended(self, prompt: Prompt) -> Prompt:
        """Do what the rules say with the assistant's message at the end. Raises `LineInvalid`."""
        match self._rules.last_assistant:
            case LastAssistant.DROP:
                prompt, self._reference = without_last(prompt)
            case LastAssistant.CONTINUE:
                prompt = continued(prompt)
            case LastAssistant.ANSWER:
                self.notes.assistant_endings += 1
        return prompt

    def _check_thinking(self, prompt: Prompt, faults: Faults) -> None:
        rules = self._rules.thinking
        budget = rules.budget_of(prompt)
        if budget is not None:
            faults.catch(rules.check_budget, prompt, default=None)
            self.notes.small_budgets += budget < ADVISED_BUDGET
        self.notes.greedy_thoughts += rules.is_greedy_thought(prompt)

    def _check_model(self, key: str, said: Json) -> None:
        if type(said) is not str or not said:
            raise LineInvalid(f"`{key}` is {shown(said)}; it must name a model")
        counted = self.notes.count(self.notes.models, said)
        if self._rules.model is not None and not same_model(said, self._rules.model):
            raise LineInvalid(f"`{key}` is {shown(said)}; this job runs on {shown(self._rules.model)}")
        self._last_model = said if counted else None

    def _taken(self, id: str, earlier: int) -> str:
        """Return the fault of a line whose id an earlier line has."""
        if earlier == BEFORE:
            return f"the id {shown(id)} is already in the job; ids must be unique in a job"
        place, whole = f"line {earlier:,}", "a file"
        if self._places is not None:
            place = f"line {self._places.of(earlier)[1]:,} of {self._places.file_of(earlier)}"
            whole = "the files of a job"
        return f"the id {shown(id)} is also the id of {place}; ids must be unique in {whole}"

    def _two_formats(self, found: str) -> str:
        first, whole = "the file's first line", "a file"
        if self._places is not None:
            first, whole = f"the first line of {self._places.file_of(1)}", "the files of a job"
        formats = f"the line is in the {_TITLES[found]} format, but {first} is in the {_TITLES[self.format]} format"
        return f"{formats}; {whole} must use one format"


def _bad(index: int, own_id: str | None, number: int, endpoint: Endpoint, reason: str) -> Prompt:
    """Return the prompt for a bad line. It has the line's own id, or else the line's number in `line`."""
    if own_id is None:
        return Prompt(index=index, id="", endpoint=endpoint, invalid=reason, line=number)
    return Prompt(index=index, id=own_id, endpoint=endpoint, invalid=reason)


_TITLES = {"native": "native", "openai": "OpenAI Batch"}
