"""Read the fields that all formats share, and name every fault of a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from jobs.constraints.requested import take_constraint
from jobs.files.formats import values
from jobs.files.formats.features.logprobs import LOGPROB_KEYS, read_logprobs
from jobs.files.formats.features.thinking import TEMPLATE_KEYS, read_template_kwargs
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.files.formats.known_fields import FIELDS, Refused, Setting, WithoutEffect, check_refused
from jobs.records.prompt import MAX_N, Endpoint, Prompt
from jobs.records.sampling import MAX_TOKENS_LIMIT, NOTHING_SAID, Range

MAX_ID_CHARS = 512
MAX_FAULT_CHARS = 1500  # max characters of a line's faults together
MAX_NAMES = 1000  # max different models or columns that a report names
MAX_NAME_CHARS = 200
TRUNCATION_KEYS = ("truncate_prompt_tokens", "truncation_side")
_RARE_KEYS = frozenset({"n", "return_token_ids", "include_reasoning", *TRUNCATION_KEYS, *TEMPLATE_KEYS, *LOGPROB_KEYS})

_Value = TypeVar("_Value")
_Default = TypeVar("_Default")


@dataclass
class Notes:
    """Findings in a file that deserve a notice: number of lines per name."""

    ignored: Counter[str] = field(default_factory=Counter)  # fields that have no effect
    models: Counter[str] = field(default_factory=Counter)  # models that lines name
    biased: int = 0  # lines with `logit_bias`
    greedy_thoughts: int = 0  # lines that think with a temperature of 0
    small_budgets: int = 0  # lines with a small thinking budget
    assistant_endings: int = 0  # lines that end with the assistant's message, which the model answers
    without_text: int = 0  # lines that ask for no text, in a job with a constraint
    without_value: Counter[str] = field(default_factory=Counter)  # columns whose text in the prompt is None
    unenforced: Counter[str] = field(default_factory=Counter)  # keywords of schemas that are not enforced
    _columns: Counter[str] = field(default_factory=Counter)
    _last_columns: tuple[str, ...] = ()  # kept columns of the last lines, and the number of these lines
    _last_lines: int = 0

    @property
    def columns(self) -> Counter[str]:
        """Kept columns."""
        for name in self._last_columns:
            self.count(self._columns, name, self._last_lines)
        self._last_columns, self._last_lines = (), 0
        return self._columns

    def count_columns(self, names: tuple[str, ...]) -> None:
        """Count one line under each of its kept columns. Neighbouring lines mostly have the same ones."""
        if names != self._last_columns:
            self.columns  # noqa: B018 - counts the lines before
            self._last_columns = names
        self._last_lines += 1

    def count(self, names: Counter[str], name: str, lines: int = 1) -> bool:
        """Count lines under a name that the file's author chose. Only the first `MAX_NAMES` names are counted.

        Returns whether the name is counted as it is. A long name is cut to `MAX_NAME_CHARS` characters.
        """
        if name in names:
            names[name] += lines
            return True
        cut = name[:MAX_NAME_CHARS]
        if cut not in names and len(names) >= MAX_NAMES:
            return False
        names[cut] += lines
        return cut == name


@dataclass
class Faults:
    """The faults of one line."""

    found: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one fault per text line. The text has at most about `MAX_FAULT_CHARS` characters."""
        shown_faults: list[str] = []
        for fault in self.found:
            if shown_faults and sum(map(len, shown_faults)) + len(fault) > MAX_FAULT_CHARS:
                return "\n".join([*shown_faults, f"and {len(self.found) - len(shown_faults)} more faults"])
            shown_faults.append(fault)
        return "\n".join(shown_faults)

    def catch(
        self,
        read: Callable[..., _Value],
        *arguments: Any,  # noqa: ANN401 - those of `read`
        default: _Default,
    ) -> _Value | _Default:
        """Return the value that `read` returns. If it raises `LineInvalid`, keep the fault and return the default."""
        try:
            return read(*arguments)
        except LineInvalid as error:
            self.found.append(str(error))
            return default


def read_id(key: str, value: Json) -> str:
    """Return a line's id from a value other than null. A whole number is an id, too: 1 and "1" are the same id.

    Raises:
        LineInvalid: The id is not a string of 1 to `MAX_ID_CHARS` characters, and no whole number.
    """
    if type(value) is str:
        if not 0 < len(value) <= MAX_ID_CHARS:
            raise LineInvalid(f"`{key}` has {len(value):,} characters; it must have 1 to {MAX_ID_CHARS}")
        return value
    if type(value) is not int or abs(value) >= 2**63:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a string or a whole number")
    return str(value)


def read_prompt(value: Json) -> tuple[str | None, tuple[int, ...] | None]:
    """Return a `prompt` as (text, None) or (None, token ids), and null as (None, None). Raises `LineInvalid`."""
    if value is None:
        return None, None
    if type(value) is not str and type(value) is not list:
        raise LineInvalid(f"`prompt` is {shown(value)}; it must be a string or a list of token ids")
    if not value:
        raise LineInvalid(f"`prompt` is {shown(value)}; the model needs at least one token to continue from")
    return (value, None) if type(value) is str else (None, values.token_ids("prompt", value))


def with_extra_body(body: dict[str, Json]) -> dict[str, Json]:
    """Return the body with the keys of its `extra_body`, which the clients of the API merge. Raises `LineInvalid`."""
    extra = body.get("extra_body")
    if extra is None:
        return body
    if type(extra) is not dict:
        raise LineInvalid(f"`extra_body` is {shown(extra)}; it must be an object")
    return {key: value for key, value in (body | extra).items() if key != "extra_body"}


def read_settings(
    fields: dict[str, Json],
    own: Collection[str],
    faults: Faults,
    notes: Notes,
    table: Mapping[str, Setting | WithoutEffect | Refused] = FIELDS,
) -> tuple[dict[str, Json], list[str]]:
    """Read the fields that are not the format's own. A null field counts as absent.

    Args:
        fields: Key and value of each field of a line or of its body.
        own: Keys that the format reads itself.
        faults: Gets the faults of the fields.
        notes: Gets the fields that have no effect.
        table: What happens to each field.

    Returns the settings and the unknown keys.
    """
    said: dict[str, Json] = {}
    unknown: list[str] = []
    for key, value in fields.items():
        if key in own or value is None:
            continue
        known = table.get(key)
        if known is None:
            unknown.append(key)
        elif type(known) is Setting:
            try:  # not `catch`: most lines of a file have settings
                read = known.read(key, value)
            except LineInvalid as error:
                faults.found.append(str(error))
                continue
            if read is not None and said.setdefault(known.name, read) != read:
                faults.found.append(_contradiction(known.name, fields))
        elif type(known) is WithoutEffect:
            notes.ignored[key] += 1
        else:
            faults.catch(check_refused, key, value, known, default=None)
    return said, unknown


def _contradiction(setting: str, fields: dict[str, Json]) -> str:
    spellings = [key for key in fields if type(known := FIELDS.get(key)) is Setting and known.name == setting]
    one, other = sorted(spellings, key=lambda key: key != setting)[:2]
    return f"`{one}` is {shown(fields[one])} but `{other}` is {shown(fields[other])}"


def make_prompt(
    fields: dict[str, Json],
    place: tuple[int, str],
    endpoint: Endpoint,
    said: dict[str, Json],
    faults: Faults,
    prompt: Json = None,
    messages: tuple[dict[str, Json], ...] | None = None,
) -> Prompt | None:
    """Make a prompt from the fields of a line or of its body. Returns None if the line has a fault.

    Args:
        fields: Key and value of each field. This function reads those in `_RARE_KEYS`.
        place: The line's index and id.
        endpoint: The line's endpoint.
        said: The line's settings (`read_settings`).
        faults: The faults that are known already. Gets the faults of the fields.
        prompt: The raw prompt: a text or token ids. None for a conversation.
        messages: The conversation. None for a raw prompt, or if it has a fault.
    """
    text, token_ids = prompt, None
    if type(prompt) is not str or not prompt:
        text, token_ids = faults.catch(read_prompt, prompt, default=(None, None))
    constraint = faults.catch(take_constraint, said, default=None) if said else None
    settings = faults.catch(values.settings, said, default=NOTHING_SAID) if said else NOTHING_SAID
    if settings.thinking_token_budget is not None and prompt is not None:
        faults.found.append("a thinking budget applies only to `messages`; a raw `prompt` has no separate thought")
    index, id = place
    if _RARE_KEYS.isdisjoint(fields):
        if faults.found:
            return None
        return Prompt(index, id, text, token_ids, messages, endpoint, settings, constraint=constraint)
    return_token_ids = faults.catch(values.flag, fields, "return_token_ids", default=False)
    n = faults.catch(_read_n, fields, default=1)
    truncation, side = faults.catch(read_truncation, fields, default=(None, "left"))
    include_reasoning = faults.catch(_read_include_reasoning, fields, prompt is None, default=True)
    logprobs = faults.catch(read_logprobs, fields, endpoint, default=None)
    template_kwargs: dict[str, Json] = faults.catch(read_template_kwargs, fields, prompt is None, default={})
    if faults.found:
        return None
    return Prompt(
        index,
        id,
        text,
        token_ids,
        messages,
        endpoint,
        settings,
        return_token_ids,
        template_kwargs,
        n=n,
        truncate_prompt_tokens=truncation,
        truncation_side=side,
        include_reasoning=include_reasoning,
        logprobs=logprobs,
        constraint=constraint,
    )


def read_truncation(fields: Mapping[str, Json]) -> tuple[int | None, Literal["left", "right"]]:
    """Return the number of tokens to which a prompt is cut, or None, and the side that is cut off.

    Raises:
        LineInvalid: A value is of another type, or not allowed.
    """
    count, side = fields.get("truncate_prompt_tokens"), fields.get("truncation_side")
    if count is not None and not (type(count) is int and count == -1):
        count = values.whole("truncate_prompt_tokens", count, Range(1, MAX_TOKENS_LIMIT))
    if side == "right":
        return count, "right"
    if side is not None and side != "left":
        raise LineInvalid(f'`truncation_side` is {shown(side)}; it must be "left" or "right"')
    return count, "left"


def _read_n(fields: dict[str, Json]) -> int:
    value = fields.get("n")
    return 1 if value is None else values.whole("n", value, Range(1, MAX_N))


def _read_include_reasoning(fields: dict[str, Json], is_chat: bool) -> bool:
    value = fields.get("include_reasoning")
    if value is None:
        return True
    if not is_chat:
        raise LineInvalid("`include_reasoning` applies only to `messages`; a raw `prompt` has no separate reasoning")
    return values.boolean("include_reasoning", value)
