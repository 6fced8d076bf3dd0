"""Read the tools that a line gives to the model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from msgspec import structs

from jobs.constraints.tool_calls import forced_calls, forced_xml_calls, is_xml
from jobs.files.formats import values
from jobs.files.formats.fields import Faults, Notes
from jobs.files.formats.json_line import Json, LineInvalid, check_free_form, shown
from jobs.records.constraint import FREE_TEXT, Constraint
from jobs.records.model_card import ModelCard, ToolFormat
from jobs.records.prompt import Prompt

TOOL_KEYS = ("tools", "tool_choice", "parallel_tool_calls")
_TOOL_KEYS = frozenset(TOOL_KEYS)
MAX_TOOLS = 128
MAX_NAME_CHARS = 256
ToolChoice = Literal["auto", "none"]
Tools = tuple[dict[str, Json], ...]
_FLAT_KEYS = ("name", "description", "parameters", "strict")  # keys of a tool of `/v1/responses`


@dataclass(frozen=True)
class LineTools:
    """The functions that a line gives to the model."""

    tools: Tools
    choice: ToolChoice = "auto"  # none: calls are not looked for
    forced: tuple[str, ...] = ()  # names of functions one of which must be called; empty if there need be no call
    several: bool = True  # False: only one call may be forced


def read_tools(fields: dict[str, Json], ignored: Counter[str], is_chat: bool) -> LineTools | None:
    """Return the tools of a line and what it says about calls. None if it has no tools.

    Args:
        fields: Key and value of each field of a line or of its body.
        ignored: Gets the keys that have no effect.
        is_chat: False for a raw prompt, which has no tools.

    Raises:
        LineInvalid: A tool or the choice is wrong or not supported.
    """
    value, choice, several = (fields.get(key) for key in TOOL_KEYS)
    if several is not None and (value is None or choice in (None, "auto", "none")):
        ignored["parallel_tool_calls"] += 1
    if value is None or value == []:
        if choice is not None and choice not in ("auto", "none"):
            raise LineInvalid(f"`tool_choice` is {shown(choice)}, but the line has no `tools`")
        return None
    if not is_chat:
        raise LineInvalid("`tools` apply only to `messages`; a raw `prompt` uses no template")
    if type(value) is not list:
        raise LineInvalid(f"`tools` is {shown(value)}; it must be a list of functions")
    if len(value) > MAX_TOOLS:
        raise LineInvalid(f"`tools` has {len(value):,} functions; at most {MAX_TOOLS} are allowed")
    tools = tuple(_read_tool(tool, f"tools[{place}]") for place, tool in enumerate(value))
    names = Counter(str(tool["function"]["name"]) for tool in tools)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise LineInvalid(f"`tools` has {count} functions with the name {shown(name)}; names must be unique")
    return LineTools(
        tools,
        "none" if choice == "none" else "auto",
        _read_forced(choice, names),
        several is None or values.boolean("parallel_tool_calls", several),
    )


def with_tools(
    prompt: Prompt | None, fields: dict[str, Json], faults: Faults, notes: Notes, calls: ToolFormat | None
) -> Prompt | None:
    """Return a prompt with the tools of its line. Returns None if the line has a fault.

    Args:
        prompt: The prompt without tools; None if it has a fault.
        fields: Key and value of each field of the line or of its body.
        faults: Gets the faults of the tools.
        notes: Gets what has no effect: keys of tools, and keywords of schemas.
        calls: How the model writes calls; None if unknown.
    """
    if _TOOL_KEYS.isdisjoint(fields):
        return prompt
    is_chat = fields.get("prompt") is None
    line_tools = faults.catch(read_tools, fields, notes.ignored, is_chat, default=None)
    if prompt is None or faults.found or line_tools is None:
        return None if faults.found else prompt
    prompt = structs.replace(prompt, tools=line_tools.tools, tool_choice=line_tools.choice)
    if not line_tools.forced:
        return prompt
    if prompt.constraint not in (None, FREE_TEXT):
        faults.found.append("`tool_choice` forces a call, so the line cannot have a schema or another constraint, too")
        return None
    constraint = faults.catch(_forced_calls, line_tools, notes, calls, default=None)
    return None if constraint is None else structs.replace(prompt, constraint=constraint, forces_calls=True)


def _forced_calls(tools: LineTools, notes: Notes, calls: ToolFormat | None) -> Constraint:
    if calls != "xml":
        return forced_calls(tools.tools, tools.forced, tools.several)
    constraint, unenforced = forced_xml_calls(tools.tools, tools.forced, tools.several)
    if unenforced:
        notes.count(notes.unenforced, ", ".join(sorted(unenforced)))
    return constraint


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
    if prompt.forces_calls and prompt.constraint is not None and is_xml(prompt.constraint) != (card.tools == "xml"):
        raise LineInvalid(
            f"`tool_choice` forces calls in another format than {card.name} writes, because the model was unknown when "
            "the line was submitted: submit it again"
        )


def _read_tool(tool: Json, where: str) -> dict[str, Json]:
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
    check_free_form(tool, where)
    return tool


def _read_forced(choice: Json, names: Counter[str]) -> tuple[str, ...]:
    """Return the functions one of which must be called. Empty if there need be no call."""
    if choice is None or choice in ("auto", "none"):
        return ()
    if choice == "required":
        return tuple(names)
    if type(choice) is dict and choice.get("type") == "function":
        function = choice.get("function", choice)
        name = function.get("name") if type(function) is dict else None
        if type(name) is not str or name not in names:
            raise LineInvalid(f"`tool_choice` names the function {shown(name)}, which `tools` does not have")
        return (name,)
    raise LineInvalid(
        f'`tool_choice` is {shown(choice)}; it must be "auto", "none", "required" or the name of a function'
    )
