"""Lines whose conversation ends with the assistant's message, as in files for fine-tuning."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

import msgspec

from jobs.files.formats.json_line import LineInvalid
from jobs.records.prompt import Prompt

REFERENCE = "reference"  # name of the column with the message that was removed

_encode = msgspec.json.Encoder().encode


class LastAssistant(StrEnum):
    """Treatment of the assistant's message at the end of a conversation."""

    ANSWER = "answer"  # the model answers after it, as after every other message
    DROP = "drop"  # it is removed from the conversation, and comes back as a column
    CONTINUE = "continue"  # the model goes on from its last word


def ends_with_assistant(prompt: Prompt) -> bool:
    """Return whether the prompt is a conversation whose last message is the assistant's."""
    return prompt.messages is not None and prompt.messages[-1].get("role") == "assistant"


def without_last(prompt: Prompt) -> tuple[Prompt, msgspec.Raw]:
    """Return a conversation without its last message, and that message as JSON.

    A message that is only text becomes a JSON string. Another message becomes an object, with its tool calls.

    Raises:
        LineInvalid: The conversation has no other message.
    """
    assert prompt.messages is not None
    *others, last = prompt.messages
    if not others:
        raise LineInvalid("the only message is the assistant's; nothing is left without it")
    said = last["content"] if last.keys() == {"role", "content"} else last
    return msgspec.structs.replace(prompt, messages=tuple(others)), msgspec.Raw(_encode(said))


def continued(prompt: Prompt) -> Prompt:
    """Return a conversation from whose last message the model goes on."""
    kwargs = prompt.chat_template_kwargs | {"continue_final_message": True}
    return msgspec.structs.replace(prompt, chat_template_kwargs=kwargs)


def reference_name(columns: Collection[str]) -> str:
    """Return a name for the removed message that no column of the line has."""
    name, number = REFERENCE, 1
    while name in columns:
        number += 1
        name = f"{REFERENCE}_{number}"
    return name


def with_reference(columns: bytes, name: str, reference: msgspec.Raw) -> msgspec.Raw:
    """Return a JSON object of columns with one more column at its end."""
    start = columns[:-1] + b"," if len(columns) > 2 else b"{"
    return msgspec.Raw(start + _encode(name) + b":" + bytes(reference) + b"}")
