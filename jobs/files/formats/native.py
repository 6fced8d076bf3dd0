"""Read native input lines: `{"id": …, "prompt" or "messages": …, settings}`, see docs/results-format.md."""

from __future__ import annotations

from jobs.files.formats import values
from jobs.files.formats.chat_kwargs import read_chat_template_kwargs
from jobs.files.formats.json_line import Json, shown
from jobs.files.formats.known_keys import refuse_key
from jobs.files.formats.line_id import read_id
from jobs.files.formats.line_invalid import LineInvalid
from jobs.files.formats.messages import read_messages
from jobs.records.prompt import Endpoint, Prompt

KEYS = ("id", "prompt", "messages", *values.SETTING_READERS, "return_token_ids", "chat_template_kwargs")


class NativeFormat:
    """Reads native lines. Stateless."""

    name = "native"

    def id_of(self, line: dict[str, Json]) -> str | None:
        """Return the line's `id`, or None if it has none. Raises `LineInvalid`."""
        return None if line.get("id") is None else read_id("id", line["id"])

    def endpoint_of(self, _line: dict[str, Json]) -> Endpoint:
        """Return the line's endpoint. Never raises, because the error of a bad line needs an endpoint, too."""
        return "native"

    def prompt_of(self, line: dict[str, Json], index: int, id: str) -> Prompt:
        """Convert the line to a prompt. Raises `LineInvalid`."""
        said: dict[str, Json] = {}
        for key, value in line.items():
            if key not in KEYS:
                refuse_key(key, value, KEYS)
            elif value is not None and (reader := values.SETTING_READERS.get(key)):
                said[key] = reader(key, value)
        text, token_ids = read_prompt(line.get("prompt"))
        messages = None if line.get("messages") is None else read_messages(line["messages"])
        if (line.get("prompt") is None) == (messages is None):
            given = "neither `prompt` nor" if messages is None else "both `prompt` and"
            raise LineInvalid(f"the line has {given} `messages`; it must have exactly one of the two")
        return Prompt(
            index=index,
            id=id,
            text=text,
            token_ids=token_ids,
            messages=messages,
            settings=values.settings(said),
            return_token_ids=values.flag(line, "return_token_ids"),
            chat_template_kwargs=read_chat_template_kwargs(line, messages),
        )


def read_prompt(value: Json) -> tuple[str | None, tuple[int, ...] | None]:
    """Return a `prompt` as (text, None) or (None, token ids), and null as (None, None). Raises `LineInvalid`."""
    if value is None:
        return None, None
    if type(value) is not str and type(value) is not list:
        raise LineInvalid(f"`prompt` is {shown(value)}; it must be a string or a list of token ids")
    if not value:
        raise LineInvalid(f"`prompt` is {shown(value)}; the model needs at least one token to continue from")
    return (value, None) if type(value) is str else (None, values.token_ids("prompt", value))
