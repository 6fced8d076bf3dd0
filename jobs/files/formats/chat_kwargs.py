"""Read `chat_template_kwargs`: variables for the model's chat template, such as `enable_thinking`."""

from __future__ import annotations

from jobs.files.formats.json_line import Json, check_free_form, shown
from jobs.files.formats.line_invalid import LineInvalid

# Variables that the worker sets, and names that the renderer itself uses.
_RESERVED = frozenset(
    {"add_generation_prompt", "chat_template", "continue_final_message", "documents", "messages", "self", "tokenize"}
    | {"tools"}
)


def read_chat_template_kwargs(line: dict[str, Json], messages: object | None) -> dict[str, Json]:
    """Return the line's `chat_template_kwargs`, or an empty dictionary if it has none.

    Raises:
        LineInvalid: The value is not an object or has a reserved name, or the line uses no template.
    """
    value = line.get("chat_template_kwargs")
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
