"""Read the body of a `/v1/score` line: a query, items, and the tokens that may follow each of them.

The fields are those of SGLang's `/v1/score` and of vLLM's `/generative_scoring`.
"""

from __future__ import annotations

from jobs.files.formats import values
from jobs.files.formats.fields import Faults
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.records.prompt import MAX_CHOICES, MAX_SCORED, LabelWish, Prompt

LABEL_KEYS = ("query", "items", "label_token_ids", "apply_softmax", "item_first")

_Part = str | tuple[int, ...]


def read_labels(body: dict[str, Json], place: tuple[int, str], faults: Faults) -> Prompt | None:
    """Make a prompt from the body of a line. Adds to `faults`, and returns None if the line has any.

    Args:
        body: The body.
        place: The line's index and id.
        faults: The faults that are known already.
    """
    query = faults.catch(_part, "query", body.get("query"), default="")
    items = faults.catch(_items, body.get("items"), default=())
    ids = faults.catch(_label_ids, body.get("label_token_ids"), default=())
    softmax = faults.catch(values.flag, body, "apply_softmax", default=False)
    item_first = faults.catch(values.flag, body, "item_first", default=False)
    if faults.found:
        return None
    pairs = [(item, query) if item_first else (query, item) for item in items]
    first, *more = faults.catch(lambda: [_joined(*pair) for pair in pairs], default=[""])
    if faults.found:
        return None
    text, token_ids = (first, None) if isinstance(first, str) else (None, first)
    index, id = place
    labels = LabelWish(ids, softmax)
    return Prompt(index, id, text, token_ids, endpoint="score", more_prompts=tuple(more), labels=labels)


def _part(key: str, value: Json) -> _Part:
    if type(value) is str:
        return value
    if type(value) is not list:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a string or a list of token ids")
    return values.token_ids(key, value)


def _items(value: Json) -> tuple[_Part, ...]:
    if type(value) is str:
        return (value,)
    if type(value) is not list or not value:
        raise LineInvalid(
            f"`items` is {shown(value)}; it must be a string, or a list of strings or of lists of token ids"
        )
    if len(value) > MAX_CHOICES:
        raise LineInvalid(f"`items` has {len(value):,} items; at most {MAX_CHOICES:,} are allowed")
    return tuple(_part(f"items[{place}]", item) for place, item in enumerate(value))


def _label_ids(value: Json) -> tuple[int, ...]:
    ids = values.token_ids("label_token_ids", value)
    if not 0 < len(ids) <= MAX_SCORED:
        raise LineInvalid(f"`label_token_ids` has {len(ids):,} token ids; it must have 1 to {MAX_SCORED}")
    return ids


def _joined(first: _Part, second: _Part) -> _Part:
    """Return one prompt of two parts. Raises `LineInvalid` if only one of them is a text, or if both are empty."""
    if isinstance(first, str) and isinstance(second, str):
        joined: _Part = first + second
    elif isinstance(first, tuple) and isinstance(second, tuple):
        joined = first + second
    else:
        raise LineInvalid("`query` and `items` must both be texts, or both be lists of token ids")
    if not joined:
        raise LineInvalid("`query` and an item are both empty; the model needs at least one token")
    return joined
