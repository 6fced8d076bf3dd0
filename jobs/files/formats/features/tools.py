"""Read the tools that a line gives to the model."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from jobs.files.formats.json_line import Json, LineInvalid, check_free_form, shown
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt

TOOL_KEYS = ("tools", "tool_choice")
MAX_TOOLS = 128
MAX_NAME_CHARS = 256
ToolChoice = Literal["auto", "none"]
Tools = tuple[dict[str, Json], ...]
_FLAT_KEYS = ("name", "description", "parameters", "strict")  # of a tool of `/v1/responses`


def read_tools(fields: dict[str, Json], ignored: Counter[str], is_chat: bool) -> tuple[Tools | None, ToolChoice]:
    """Return the functions that the model may call, and what the line says about calls.

    Args:
        fields: Key and value of each field of a line or of its body.
        ignored: Gets the keys that have no effect.
        is_chat: False for a raw prompt, which has no tools.

    Raises:
        LineInvalid: A tool or the choice is wrong or not supported.
    """
    value, choice = fields.get("tools"), fields.get("tool_choice")
    if value is None or value == []:
        if choice is not None and choice not in ("auto", "none"):
            raise LineInvalid(f"`tool_choice` is {shown(choice)}, but the line has no `tools`")
        return None, "auto"
    if not is_chat:
        raise LineInvalid("`tools` apply only to `messages`; a raw `prompt` uses no template")
    if type(value) is not list:
        raise LineInvalid(f"`tools` is {shown(value)}; it must be a list of functions")
    if len(value) > MAX_TOOLS:
        raise LineInvalid(f"`tools` has {len(value):,} functions; at most {MAX_TOOLS} are allowed")
    tools = tuple(_read_tool(tool, f"tools[{place}]", ignored) for place, tool in enumerate(value))
    names = Counter(str(tool["function"]["name"]) for tool in tools)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise LineInvalid(f"`tools` has {count} functions with the name {shown(name)}; names must be unique")
    return tools, _read_choice(choice, names)


def nested(tool: Json) -> Json:
    """Return a tool of `/v1/responses` in the shape of a chat's tool. Any other value is returned unchanged."""
    if type(tool) is not dict or tool.get("type") != "function" or "function" in tool:
        return tool
    function = {key: tool[key] for key in _FLAT_KEYS if tool.get(key) is not None}
    return {"type": "function", "function": function} | {
        key: value for key, value in tool.items() if key != "type" and key not in _FLAT_KEYS
    }


def check_tools(prompt: Prompt, card: ModelCard) -> None:
    """Refuse tools for a model whose chat template ignores them. Raises `LineInvalid`."""
    if prompt.tools is not None and card.tools is None:
        raise LineInvalid(f"`tools` have no effect: {card.name}'s chat template does not know them. Leave them out")


def _read_tool(tool: Json, where: str, ignored: Counter[str]) -> dict[str, Json]:
    if type(tool) is not dict:
        raise LineInvalid(f"`{where}` is {shown(tool)}; it must be an object with `type` and `function`")
    kind, function = tool.get("type"), tool.get("function")
    if kind != "function":
        raise LineInvalid(f'`{where}.type` is {shown(kind)}; only "function" is supported')
    if type(function) is not dict:
        raise LineInvalid(f"`{where}.function` is {shown(function)}; it must be an object with `name`")
    name, parameters = function.get("name"), function.get("parameters")
    if type(name) is not str or not 0 < len(name) <= MAX_NAME_CHARS:
        raise LineInvalid(f"`{where}.function.name` is {shown(name)}; it must have 1 to {MAX_NAME_CHARS} characters")
    if parameters is not None and type(parameters) is not dict:
        raise LineInvalid(f"`{where}.function.parameters` is {shown(parameters)}; it must be a JSON schema, an object")
    if function.get("strict") is True:
        ignored["tools[].function.strict"] += 1
    check_free_form(tool, where)
    return tool


def _read_choice(choice: Json, names: Counter[str]) -> ToolChoice:
    if choice is None or choice == "auto":
        return "auto"
    if choice == "none":
        return "none"
    if type(choice) is dict and choice.get("type") == "function":
        function = choice.get("function", choice)
        name = function.get("name") if type(function) is dict else None
        if name not in names:
            raise LineInvalid(f"`tool_choice` names the function {shown(name)}, which `tools` does not have")
        raise LineInvalid('`tool_choice` names a function; it is not supported: use "auto" or "none"')
    raise LineInvalid(f'`tool_choice` is {shown(choice)}; it is not supported: use "auto" or "none"')
