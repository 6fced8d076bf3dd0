"""A template of a whole conversation, as a user writes it in a YAML or JSON file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from jobs.errors import InvalidInput

ROLES = ("system", "user", "assistant", "tool")
_MAX_MESSAGES = 100  # each is rendered for each row
_EXAMPLE = "Write `messages:` with a list of messages, each with `role` and `content`."


@dataclass(frozen=True)
class MessageTemplate:
    """A message whose text is made of each row."""

    role: str
    content: str  # jinja2 text


@dataclass(frozen=True)
class Conversation:
    """The messages that are made of each row, in order. There is at least one."""

    messages: tuple[MessageTemplate, ...]


def is_conversation(name: str) -> bool:
    """Return whether a file of this name must hold a conversation, rather than one template."""
    return name.lower().endswith((".yaml", ".yml", ".json"))


def read_conversation(name: str, text: str) -> Conversation:
    """Return the conversation in a file.

    Args:
        name: The file's name. Its ending tells YAML from JSON.
        text: The file's content.

    Raises:
        InvalidInput: The content is not YAML or JSON, or it is no conversation. Or PyYAML is not installed.
    """
    parse = _parse_json if name.lower().endswith(".json") else _parse_yaml
    return conversation_of(name, parse(name, text))


def conversation_of(name: str, value: object) -> Conversation:
    """Return the conversation that an object `{"messages": […]}` describes.

    Args:
        name: Name of its origin, for messages.
        value: The object.

    Raises:
        InvalidInput: The object has another shape.
    """
    if not isinstance(value, dict) or "messages" not in value:
        raise InvalidInput(f"{name} is no conversation: it has no key `messages`.", _EXAMPLE)
    unknown = [str(key) for key in value if key != "messages"]
    if unknown:
        raise InvalidInput(
            f"{name} has the key `{unknown[0]:.60}`; only `messages` is allowed.",
            "Settings are options of the command.",
        )
    messages = value["messages"]
    if not isinstance(messages, list) or not 0 < len(messages) <= _MAX_MESSAGES:
        raise InvalidInput(f"`messages` of {name} must be a list of 1 to {_MAX_MESSAGES} messages.", _EXAMPLE)
    return Conversation(tuple(_message(name, f"messages[{place}]", each) for place, each in enumerate(messages)))


def _message(name: str, where: str, value: object) -> MessageTemplate:
    if not isinstance(value, dict) or set(value) != {"role", "content"}:
        raise InvalidInput(f"`{where}` of {name} must have exactly `role` and `content`.", _EXAMPLE)
    role, content = value["role"], value["content"]
    if role not in ROLES:
        raise InvalidInput(f"`{where}.role` of {name} is {_shown(role)}; it must be one of {', '.join(ROLES)}.")
    if not isinstance(content, str):
        raise InvalidInput(
            f"`{where}.content` of {name} is {_shown(content)}; it must be text.",
            "In YAML, put quotes around a template that begins with {{.",
        )
    return MessageTemplate(role, content)


def _shown(value: object) -> str:
    return f"{value!r:.60}" if isinstance(value, str | int | float) else f"a value of type {type(value).__name__}"


def _parse_json(name: str, text: str) -> Any:  # noqa: ANN401 - a JSON value
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"{name} is not JSON: {error}.", _EXAMPLE) from None


def _parse_yaml(name: str, text: str) -> Any:  # noqa: ANN401 - a YAML value
    try:
        import yaml
    except ImportError:
        raise InvalidInput(
            f"Reading {name} needs PyYAML, which is not installed.",
            "Install it: pip install 'qwen-batch[yaml]'. Or write the conversation as JSON.",
        ) from None
    load: Callable[[str], Any] = yaml.safe_load
    try:
        return load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" in line {mark.line + 1:,}"
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise InvalidInput(
            f"{name} is not YAML{place}: {reason}.", "Put quotes around a template that begins with {{."
        ) from None


def sources_of(template: str | Conversation) -> Sequence[str]:
    """Return the jinja2 texts of a template: one per message."""
    return [template] if isinstance(template, str) else [message.content for message in template.messages]


def roles_of(template: str | Conversation) -> tuple[str, ...]:
    """Return the role of each message. A text is the message of a user."""
    return ("user",) if isinstance(template, str) else tuple(message.role for message in template.messages)
