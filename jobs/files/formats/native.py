"""Read native input lines: `{"id": …, "prompt" or "messages": …, settings}`, see docs/results-format.md."""

from __future__ import annotations

from jobs.files.formats import values
from jobs.files.formats.fields import make_prompt, read_id, read_settings
from jobs.files.formats.json_line import Json, LineInvalid
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
        said = read_settings(line, KEYS)
        prompt = line.get("prompt")
        messages = None if line.get("messages") is None else read_messages(line["messages"])
        if (prompt is None) == (messages is None):
            given = "neither `prompt` nor" if messages is None else "both `prompt` and"
            raise LineInvalid(f"the line has {given} `messages`; it must have exactly one of the two")
        return make_prompt(line, (index, id), "native", prompt, messages, said)
