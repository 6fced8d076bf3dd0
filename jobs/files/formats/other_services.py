"""Convert lines of other services' batch files to native lines, as far as they hold only text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobs.files.formats.json_line import MAX_SHOWN_CHARS, Json, LineInvalid, shown

_GEMINI_SETTINGS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_GEMINI_HARMLESS = {"candidateCount": 1, "responseMimeType": "text/plain"}
_GEMINI_JSON = "application/json"
_GEMINI_SCHEMAS = ("responseSchema", "responseJsonSchema")
_GEMINI_KEYS = frozenset({"model", "contents", "systemInstruction", "generationConfig", "safetySettings", "labels"})
_MAX_SHOWN_KEYS = 5
_SHAREGPT_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard"), "assistant"),
    "system": "system",
}


@dataclass(frozen=True)
class Converted:
    """A line of another service as a native line."""

    service: str  # name of the service's format, for messages
    line: dict[str, Json]  # without prompt and messages if the line has a fault
    used: frozenset[str]  # keys of the original line that the native line replaces
    fault: str | None = None  # reason why the line cannot be converted

    def named(self, fault: str) -> str:
        """Return a fault with the name of the service's format."""
        return f"this is a line of the {self.service} format; {fault}"


def converted(line: dict[str, Json]) -> Converted | None:
    """Convert a line without `prompt` and `messages`. Returns None if it is no line of another service."""
    for key, (service, id_key, is_of_service, convert) in _SERVICES.items():
        value = line.get(key)
        if value is None or not is_of_service(value):
            continue
        used = frozenset({key, id_key, "method", "url"} if key == "body" else {key, id_key})
        rest = {name: said for name, said in line.items() if name not in used}
        if line.get(id_key) is not None:
            rest["id"] = line[id_key]
        try:
            return Converted(service, rest | convert(value), used)
        except LineInvalid as error:
            return Converted(service, rest, used, str(error))
    return None


def _anthropic(params: dict[str, Json]) -> dict[str, Json]:
    if type(params.get("messages")) is not list:
        raise LineInvalid("it has no list of `messages`")
    native: dict[str, Json] = {}
    messages = list(params["messages"])
    for key, value in params.items():
        if value is None or key in ("messages", "anthropic_version"):
            continue
        if key == "system":
            messages.insert(0, {"role": "system", "content": value})
        elif key == "stop_sequences":
            native["stop"] = value
        elif key == "thinking":
            native |= _thinking(type(value) is dict and value.get("type") != "disabled", value, "budget_tokens")
        else:
            native[key] = value  # the other keys have the same names
    return native | {"messages": messages}


def _gemini(request: dict[str, Json]) -> dict[str, Json]:
    request = _camel(request)
    for key in request.keys() - _GEMINI_KEYS:
        if request[key]:
            raise LineInvalid(f"`{key}` is {_with_keys(request[key])}; it is not supported: leave it out")
    messages = [_gemini_message(content) for content in _list(request.get("contents"), "contents")]
    if request.get("systemInstruction") is not None:
        messages.insert(0, _gemini_message(request["systemInstruction"]) | {"role": "system"})
    native: dict[str, Json] = {"messages": messages}
    if request.get("model") is not None:
        native["model"] = request["model"]
    return native | _gemini_settings(_camel(request.get("generationConfig") or {}))


def _gemini_settings(config: dict[str, Json]) -> dict[str, Json]:
    native: dict[str, Json] = {}
    for key, value in config.items():
        if key == "responseMimeType" and value == _GEMINI_JSON:
            native |= _gemini_json(config)
        elif key in _GEMINI_SCHEMAS and config.get("responseMimeType") == _GEMINI_JSON:
            continue  # read with the type
        elif key in _GEMINI_SETTINGS:
            native[_GEMINI_SETTINGS[key]] = value
        elif key == "thinkingConfig":
            thought = _camel(value)
            budget = thought.get("thinkingBudget")
            native |= _thinking(budget != 0, thought if budget != -1 else {}, "thinkingBudget")
        elif value is not None and value != _GEMINI_HARMLESS.get(key):
            raise LineInvalid(f"`generationConfig.{key}` is {shown(value)}; it is not supported: leave it out")
    return native


def _thinking(is_on: bool, said: Json, budget_key: str) -> dict[str, Json]:
    """Return the native fields for a thought and its budget."""
    budget = said.get(budget_key) if type(said) is dict else None
    return {"enable_thinking": is_on, **({"thinking_token_budget": budget} if is_on and budget is not None else {})}


def _gemini_json(config: dict[str, Json]) -> dict[str, Json]:
    """Return the native field for an answer in JSON. Gemini spells the types of its own schemas with capitals."""
    if config.get("responseJsonSchema") is not None:
        return {"guided_json": config["responseJsonSchema"]}
    if config.get("responseSchema") is not None:
        return {"guided_json": _with_small_types(config["responseSchema"])}
    return {"response_format": {"type": "json_object"}}


def _with_small_types(schema: Json) -> Json:
    if type(schema) is list:
        return [_with_small_types(each) for each in schema]
    if type(schema) is not dict:
        return schema
    small = {
        key: value.lower() if key == "type" and type(value) is str else _with_small_types(value)
        for key, value in schema.items()
    }
    ordering, properties = small.get("propertyOrdering"), small.get("properties")
    if type(ordering) is list and type(properties) is dict:  # our answers have the order of the properties
        del small["propertyOrdering"]
        names = [*map(str, ordering), *properties]
        small["properties"] = {name: properties[name] for name in names if name in properties}
    return small


def _gemini_message(content: Json) -> dict[str, Json]:
    if type(content) is not dict:
        raise LineInvalid(f"{shown(content)} must be an object with `parts`")
    texts = [_gemini_text(part) for part in _list(content.get("parts"), "parts")]
    role = content.get("role") or "user"
    return {"role": "assistant" if role == "model" else role, "content": "\n".join(texts)}


def _gemini_text(part: Json) -> str:
    if type(part) is not dict or type(part.get("text")) is not str:
        raise LineInvalid(f"a part is {_with_keys(part)}; only parts with `text` are supported")
    return str(part["text"])


def _with_keys(value: Json) -> str:
    """Describe a value for a message, with the keys of an object or of a list's objects. They name what is meant."""
    objects = value if type(value) is list else [value]
    keys = {key: None for each in objects if type(each) is dict for key in each}
    named = ", ".join(f"`{key[:MAX_SHOWN_CHARS]}`" for key in list(keys)[:_MAX_SHOWN_KEYS])
    return f"{shown(value)} with {named}" if named else shown(value)


def _sharegpt(turns: list[Json]) -> dict[str, Json]:
    messages = []
    for position, turn in enumerate(turns):
        if type(turn) is dict and "role" in turn:
            messages.append({"role": turn["role"], "content": turn.get("content")})
            continue
        said = turn.get("from") if type(turn) is dict else None
        role = _SHAREGPT_ROLES.get(said) if type(said) is str else None
        if role is None or type(turn.get("value")) is not str:
            raise LineInvalid(
                f"`conversations[{position}]` must have `from`, such as human or gpt, and a text as `value`"
            )
        messages.append({"role": role, "content": turn["value"]})
    return {"messages": messages}


def _list(value: Json, name: str) -> list[Json]:
    if type(value) is not list or not value:
        raise LineInvalid(f"`{name}` is {shown(value)}; it must be a list")
    return value


def _camel(fields: Json) -> dict[str, Json]:
    """Return the fields with names such as `topP`, which may be spelled `top_p`. Null counts as absent."""
    if type(fields) is not dict:
        raise LineInvalid(f"{shown(fields)} must be an object")
    named = {}
    for key, value in fields.items():
        first, *rest = key.split("_")
        if value is not None:
            named[first + "".join(map(str.capitalize, rest))] = value
    return named


def _has(key: str) -> Callable[[Json], bool]:
    return lambda value: type(value) is dict and key in value


def _is_sharegpt(turns: Json) -> bool:
    return type(turns) is list and bool(turns) and type(turns[0]) is dict and ("from" in turns[0] or "role" in turns[0])


# key of the line -> name of the format, key of the id, test of the key's value, converter of the key's value
_SERVICES: dict[str, tuple[str, str, Callable[[Json], bool], Callable[[Any], dict[str, Json]]]] = {
    "params": ("Anthropic Message Batches", "custom_id", _has("messages"), _anthropic),
    "request": ("Gemini Batch", "key", _has("contents"), _gemini),
    "modelInput": ("Bedrock batch inference", "recordId", lambda value: type(value) is dict, _anthropic),
    "conversations": ("ShareGPT", "id", _is_sharegpt, _sharegpt),
    "conversation": ("ShareGPT", "id", _is_sharegpt, _sharegpt),  # data sets of chats with people
    "body": ("Gemini Batch", "custom_id", _has("contents"), _gemini),  # some people put it into OpenAI's envelope
}
