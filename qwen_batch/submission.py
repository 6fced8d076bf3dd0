"""The arguments of `submit`, and what they mean to the client of the queue."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

from jobs.constraints import requested
from jobs.constraints.checker import ConstraintChecker
from jobs.constraints.schema_file import read_schema_file
from jobs.errors import InvalidInput
from jobs.files.formats import values
from jobs.files.formats.features.last_assistant import LastAssistant
from jobs.files.formats.features.score import choices
from jobs.files.formats.fields import Faults, Notes, read_settings
from jobs.files.formats.json_line import LineInvalid
from jobs.files.reading.container import Container
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions
from jobs.records.constraint import Constraint
from jobs.records.line_defaults import LineDefaults
from jobs.records.prompt import MAX_N
from jobs.records.sampling import Range, SamplingSettings
from jobs.submission.submit_options import LineOptions
from jobs.templates.conversation import Conversation, conversation_of
from qwen_batch.argument_names import unknown_argument


class Sampling(TypedDict, total=False):
    """Sampling settings of rows that set none themselves. docs/results-format.md has the ranges."""

    max_tokens: int
    min_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    presence_penalty: float
    frequency_penalty: float
    repetition_penalty: float
    stop: str | Sequence[str]
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    thinking_budget: int  # max tokens of each thought; then the answer follows


@runtime_checkable
class HasSchema(Protocol):
    """A class of pydantic, such as `class Answer(BaseModel)`."""

    def model_json_schema(self) -> dict[str, Any]:
        """Return the class's JSON schema."""


class SubmitArguments(Sampling, total=False):
    """Arguments of `submit`, beside the rows. Each is an option of `qwen-batch submit` with the same meaning."""

    model: str | None  # folder, hub id or name of a queue; None for the model that the rows or the environment name
    template: str | Sequence[Mapping[str, str]] | None  # jinja2 text of a user's message, or messages of such texts
    system: str | None  # system message before messages that have none
    raw: bool  # True: the template's text is a raw prompt
    embed: bool  # True: the template's text is embedded, and `Result.embedding` has its numbers
    id_column: str | None  # column with the id of each row, or "none" to number the rows
    keep: Sequence[str] | None  # columns that come back in the results; None for all of them
    input_format: str | None  # format of a file, such as csv; None to recognise it
    delimiter: str | None  # character between the cells of CSV; None to find it
    limit: int | None  # number of rows to read; None to read all
    seed: int  # random seed of rows without their own
    n: int  # completions per row, for rows that do not say; `Result.choices` has all of them
    thinking: bool | None  # True or False switches thinking on or off; None to do as the chat template does
    schema: Mapping[str, Any] | HasSchema | str | os.PathLike[str] | None  # JSON schema of completions, or its file
    choices: Sequence[str] | None  # texts one of which each completion is
    regex: str | None  # regular expression that each completion matches as a whole
    score: Sequence[str] | None  # texts; nothing is generated, and `Result.scores` says how likely each of them is
    skip_invalid: bool  # True: a bad row gets an error as its result
    any_model: bool  # True: one model answers rows that name several models
    strict_model: bool  # True: a row that names another model is bad
    last_assistant: Literal["answer", "drop", "continue"]  # what to do with an assistant's message at the end
    priority: int  # jobs with a higher priority run first
    deadline_seconds: float | None  # max seconds until the job ends
    reuse: bool  # True: copy completions of equal rows from earlier jobs
    key: str | None  # submissions with the same key make only one job; None for a key made from the content
    new: bool  # True: make a new job even if the same submission has made one


ARGUMENTS = frozenset(SubmitArguments.__annotations__ | Sampling.__annotations__)


def check_names(arguments: Mapping[str, object]) -> None:
    """Raise `TypeError` if `submit` has no argument of a name. The message names the nearest one."""
    for name in arguments:
        if name not in ARGUMENTS:
            raise unknown_argument("submit", name, sorted(ARGUMENTS))


def reading_of(arguments: SubmitArguments) -> ReadingOptions:
    """Return how the rows are read. Raises `InvalidInput`."""
    said = arguments.get("template")
    template: str | Conversation | None
    if said is None or isinstance(said, str):
        template = said
    else:
        template = conversation_of("`template`", {"messages": [dict(message) for message in said]})
    raw, id_column = arguments.get("raw", False), arguments.get("id_column")
    embed = arguments.get("embed", False)
    prompts = PromptOptions.said(template, arguments.get("system"), raw, id_column, embed)
    if prompts.number_rows and template is None:
        raise InvalidInput("`id_column` is 'none', which needs a `template`.", "Without one, rows are lines with ids.")
    if prompts.raw and (not isinstance(template, str) or prompts.system is not None):
        raise InvalidInput("`raw` needs a text as `template` and no `system`: a raw prompt has no messages.")
    if prompts.embed and (not isinstance(template, str) or prompts.system is not None or prompts.raw):
        raise InvalidInput("`embed` needs a text as `template`, and neither `system` nor `raw`.")
    name = arguments.get("input_format")
    if name is not None and name not in list(Container):
        raise InvalidInput(f"`input_format` is {name!r}; it must be one of {', '.join(Container)}.")
    limit = arguments.get("limit")
    if limit is not None and limit < 1:
        raise InvalidInput(f"`limit` is {limit:,}; it must be at least 1.", "Leave it out to read all rows.")
    container = None if name is None else Container(name)
    return ReadingOptions(container, arguments.get("delimiter"), prompts, limit)


def defaults_of(arguments: SubmitArguments) -> SamplingSettings:
    """Return the sampling settings. Raises `InvalidInput` if a value is of another type or outside its range."""
    fields: Mapping[str, Any] = arguments
    said = {name: fields[name] for name in Sampling.__annotations__ if fields.get(name) is not None}
    lists = {name: list(value) for name, value in said.items() if isinstance(value, tuple)}
    faults = Faults()
    settings, _ = read_settings(said | lists, (), faults, Notes())
    defaults = faults.catch(values.settings, settings, default=SamplingSettings())
    if faults.found:
        raise InvalidInput(f"An argument cannot be used: {faults.found[0]}.")
    return defaults


def line_defaults_of(arguments: SubmitArguments) -> LineDefaults:
    """Return the values for rows that do not say, beside the sampling settings. Raises `InvalidInput`."""
    thinking = arguments.get("thinking")
    if thinking is not None and type(thinking) is not bool:
        raise InvalidInput(f"`thinking` is {thinking!r}; it must be True, False or None.")
    fields: Mapping[str, Any] = arguments
    names = ("schema", "choices", "regex", "score")
    said = {name: fields[name] for name in names if fields.get(name) is not None}
    if len(said) > 1:
        raise InvalidInput(f"{' and '.join(f'`{name}`' for name in said)} cannot be used together.")
    for name, value in said.items():
        try:
            if name == "score":
                return LineDefaults(thinking, score=choices(name, list(value) if isinstance(value, tuple) else value))
            constraint = ConstraintChecker(Notes()).checked(_constraint(name, value))
        except LineInvalid as error:
            raise InvalidInput(f"`{name}` cannot be used: {error}.") from error
        return LineDefaults(thinking, constraint)
    return LineDefaults(thinking)


def _constraint(name: str, value: Any) -> Constraint:  # noqa: ANN401 - what the caller of `submit` gave
    """Return a constraint that is not checked yet. Raises `LineInvalid` or `InvalidInput`."""
    if name == "regex":
        return requested.regex(name, value)
    if name == "choices":
        return requested.choice(name, list(value) if isinstance(value, tuple) else value)
    if isinstance(value, str | os.PathLike):
        return read_schema_file(os.fspath(value), "`schema`")
    if isinstance(value, HasSchema):
        return requested.json(name, value.model_json_schema())
    return requested.schema_or_format(dict(value)) if isinstance(value, Mapping) else requested.json(name, value)


def lines_of(arguments: SubmitArguments) -> LineOptions:
    """Return what the rows may say. Raises `InvalidInput`."""
    keep, ending = arguments.get("keep"), arguments.get("last_assistant", "answer")
    if ending not in list(LastAssistant):
        raise InvalidInput(f"`last_assistant` is {ending!r}; it must be one of {', '.join(LastAssistant)}.")
    n = arguments.get("n", 1)
    if type(n) is not int or n not in Range(1, MAX_N):
        raise InvalidInput(f"`n` is {n!r}; it must be a whole number {Range(1, MAX_N)}.")
    return LineOptions(
        arguments.get("strict_model", False),
        arguments.get("any_model", False),
        None if keep is None else tuple(keep),
        LastAssistant(ending),
        n,
    )
