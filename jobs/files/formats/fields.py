"""Read the fields that all formats share: ids, prompts, settings, variables of the chat template."""

from __future__ import annotations

from jobs.files.formats import values
from jobs.files.formats.json_line import Json, LineInvalid, check_free_form, shown
from jobs.files.formats.known_keys import refuse_key
from jobs.records.prompt import Endpoint, Prompt

MAX_ID_CHARS = 512

# Variables that the worker sets, and names that the renderer itself uses.
_RESERVED = frozenset(
    {"add_generation_prompt", "chat_template", "continue_final_message", "documents", "messages", "self", "tokenize"}
    | {"tools"}
)


def read_id(key: str, value: Json) -> str:
    """Return a line's id. Raises `LineInvalid` if it is not a string of 1 to `MAX_ID_CHARS` characters."""
    if type(value) is not str:
        raise LineInvalid(f"`{key}` is {shown(value)}; it must be a string")
    if not 0 < len(value) <= MAX_ID_CHARS:
        raise LineInvalid(f"`{key}` has {len(value):,} characters; it must have 1 to {MAX_ID_CHARS}")
    return value


def read_prompt(value: Json) -> tuple[str | None, tuple[int, ...] | None]:
    """Return a `prompt` as (text, None) or (None, token ids), and null as (None, None). Raises `LineInvalid`."""
    if value is None:
        return None, None
    if type(value) is not str and type(value) is not list:
        raise LineInvalid(f"`prompt` is {shown(value)}; it must be a string or a list of token ids")
    if not value:
        raise LineInvalid(f"`prompt` is {shown(value)}; the model needs at least one token to continue from")
    return (value, None) if type(value) is str else (None, values.token_ids("prompt", value))


def read_settings(
    fields: dict[str, Json], known: tuple[str, ...], ignored: frozenset[str] = frozenset()
) -> dict[str, Json]:
    """Return the sampling settings among the fields of a line or of its body, each with its value.

    Args:
        fields: Key and value of each field.
        known: The allowed keys.
        ignored: Further keys that are accepted and have no effect.

    Raises:
        LineInvalid: A key is unknown or unsupported, or a setting has a wrong value.
    """
    said: dict[str, Json] = {}
    for key, value in fields.items():
        if key not in known:
            if key not in ignored:
                refuse_key(key, value, known)
        elif value is not None and (reader := values.SETTING_READERS.get(key)):
            said[key] = reader(key, value)
    return said


def make_prompt(
    fields: dict[str, Json],
    place: tuple[int, str],
    endpoint: Endpoint,
    prompt: Json,
    messages: tuple[dict[str, Json], ...] | None,
    said: dict[str, Json],
) -> Prompt:
    """Make a prompt from the fields of a line or of its body.

    Args:
        fields: Key and value of each field. This function reads `return_token_ids` and `chat_template_kwargs`.
        place: The line's index and id.
        endpoint: The line's endpoint.
        prompt: The raw prompt as the line says it. None if the line has messages.
        messages: The messages. None if the line has a raw prompt.
        said: The line's settings (`read_settings`).

    Raises:
        LineInvalid: A field has a wrong value.
    """
    text, token_ids = read_prompt(prompt)
    return Prompt(
        index=place[0],
        id=place[1],
        text=text,
        token_ids=token_ids,
        messages=messages,
        endpoint=endpoint,
        settings=values.settings(said),
        return_token_ids=values.flag(fields, "return_token_ids"),
        chat_template_kwargs=_read_chat_template_kwargs(fields, messages),
    )


def _read_chat_template_kwargs(fields: dict[str, Json], messages: object | None) -> dict[str, Json]:
    """Return the line's `chat_template_kwargs`, or an empty dictionary if it has none.

    Raises:
        LineInvalid: The value is not an object or has a reserved name, or the line uses no template.
    """
    value = fields.get("chat_template_kwargs")
    if value is None:
        return {}
    if type(value) is not dict:
        raise LineInvalid(
            f'`chat_template_kwargs` is {shown(value)}; it must be an object, such as {{"enable_thinking": false}}'
        )
    if messages is None:
        raise LineInvalid("`chat_template_kwargs` applies only to `messages`; a raw `prompt` uses no template")
    reserved = sorted(_RESERVED & value.keys())
    if reserved:
        raise LineInvalid(f"`chat_template_kwargs` has {shown(reserved[0])}; a line cannot set this variable")
    check_free_form(value, "chat_template_kwargs")
    return value
