"""Read lines that ask for embeddings: native lines with `embed`, and bodies of `/v1/embeddings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.files.formats import values
from jobs.files.formats.fields import TRUNCATION_KEYS, Faults, read_truncation
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.records.prompt import MAX_CHOICES, EmbedWish, Prompt
from jobs.records.sampling import Range

EMBED_KEYS = ("dimensions", "encoding_format", "instruction", "prompt_name", *TRUNCATION_KEYS)
_DIMENSIONS = Range(1, 100_000)  # the model's card has the true limit


def wants_embeddings(line: Mapping[str, Json]) -> bool:
    """Return whether a native line asks for embeddings. Beside a prompt or messages, `embed` is a column."""
    return line.get("embed") is not None and line.get("prompt") is None and line.get("messages") is None


def read_embedding(fields: Mapping[str, Json], key: str, place: tuple[int, str], faults: Faults) -> Prompt | None:
    """Return the prompt of a line that asks for embeddings. Adds to `faults`, and returns None if the line has any.

    Args:
        fields: Key and value of each field of the line or of its body.
        key: Key of the texts: `embed` or `input`.
        place: The line's index and id.
        faults: The faults that are known already.
    """
    inputs = faults.catch(_inputs, key, fields.get(key), default=[])
    wish = EmbedWish(
        dimensions=faults.catch(_dimensions, fields.get("dimensions"), default=None),
        as_base64=faults.catch(_as_base64, fields.get("encoding_format"), default=False),
        instruction=faults.catch(optional_text, fields, "instruction", default=None),
        prompt_name=faults.catch(optional_text, fields, "prompt_name", default=None),
    )
    if wish.instruction is not None and wish.prompt_name is not None:
        faults.found.append("the line has both `instruction` and `prompt_name`; it may have one of the two")
    said = {"truncation_side": "right"} | {name: value for name, value in fields.items() if value is not None}
    count, side = faults.catch(read_truncation, said, default=(None, "right"))
    if faults.found:
        return None
    first, *more = inputs
    return Prompt(
        index=place[0],
        id=place[1],
        text=first if isinstance(first, str) else None,
        token_ids=None if isinstance(first, str) else first,
        endpoint="embeddings",
        truncate_prompt_tokens=count,
        truncation_side=side,
        more_prompts=tuple(more),
        embed=wish,
    )


def optional_text(fields: Mapping[str, Json], key: str) -> str | None:
    """Return the text of a key. None if the key is missing or null. Raises `LineInvalid` for another type."""
    value = fields.get(key)
    return None if value is None else values.string(key, value)


def _inputs(key: str, value: Json) -> list[str | tuple[int, ...]]:
    """Return the texts or lists of token ids of a key, which holds one or several of them. Raises `LineInvalid`."""
    if type(value) is not list or not value or type(value[0]) is int:
        return [_input(key, value)]
    if len(value) > MAX_CHOICES:
        raise LineInvalid(f"`{key}` has {len(value):,} texts; at most {MAX_CHOICES:,} per line are allowed")
    return [_input(f"{key}[{index}]", each) for index, each in enumerate(value)]


def _input(key: str, value: Any) -> str | tuple[int, ...]:  # noqa: ANN401 - a JSON value
    if value is None:
        raise LineInvalid(f"`{key}` is missing; it must be a text, a list of token ids, or a list of these")
    if type(value) not in (str, list) or not value:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a text or a list of token ids, and not empty")
    return value if type(value) is str else values.token_ids(key, value)


def _dimensions(value: Json) -> int | None:
    return None if value is None else values.whole("dimensions", value, _DIMENSIONS)


def _as_base64(value: Json) -> bool:
    if value not in (None, "float", "base64"):
        raise LineInvalid(f'`encoding_format` is {shown(value)}; it must be "float" or "base64"')
    return bool(value == "base64")
