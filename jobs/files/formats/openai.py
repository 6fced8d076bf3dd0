"""The OpenAI Batch input line: `{"custom_id", "method", "url", "body"}`, so that files written for it run unchanged.

The body takes what the API defines for sampling, and vLLM's further keys (`top_k`, `min_tokens`, `ignore_eos`, …).
A field that is defined but not supported is accepted only with a value that asks for nothing. One default differs:
without `max_tokens` a completion may use the whole context on both endpoints (the API stops `/v1/completions` at 16).
"""

from __future__ import annotations

from jobs.files.formats import values
from jobs.files.formats.chat_kwargs import read_chat_template_kwargs
from jobs.files.formats.json_line import Json, shown
from jobs.files.formats.known_keys import refuse_key, unknown_key
from jobs.files.formats.line_id import read_id
from jobs.files.formats.line_invalid import LineInvalid
from jobs.files.formats.messages import read_messages
from jobs.files.formats.model_name import same_model
from jobs.files.formats.native import read_prompt
from jobs.records.prompt import Endpoint, Prompt

KEYS = ("custom_id", "method", "url", "body")
ENDPOINTS: dict[str, Endpoint] = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}

# Fields about accounts, storage and caches: they ask nothing of the completion.
_WITHOUT_EFFECT = frozenset(
    {"metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier"}
    | {"service_tier", "store", "user"}
)
_SHARED_KEYS = ("model", *values.SETTING_READERS, "return_token_ids")
_BODY_KEYS: dict[Endpoint, tuple[str, ...]] = {
    "chat": ("messages", "max_completion_tokens", "chat_template_kwargs", *_SHARED_KEYS),
    "completions": ("prompt", *_SHARED_KEYS),
}


class OpenAIFormat:
    """Reads lines of an OpenAI Batch file.

    Args:
        model: The job's model, which every `body.model` must name; None if any will do.
    """

    name = "openai"

    def __init__(self, model: str | None) -> None:
        self._model = model

    def id_of(self, line: dict[str, Json]) -> str:
        """The line's `custom_id`, which every line must have. Raises `LineInvalid`."""
        return read_id("custom_id", line.get("custom_id"))

    def endpoint_of(self, line: dict[str, Json]) -> Endpoint:
        """What the line asks for; never fails, so that a bad line's error has a shape, too."""
        url = line.get("url")
        return ENDPOINTS.get(url, "chat") if type(url) is str else "chat"

    def prompt_of(self, line: dict[str, Json], index: int, id: str) -> Prompt:
        """The line as a prompt. Raises `LineInvalid`."""
        _check_envelope(line)
        endpoint, body = ENDPOINTS[line["url"]], line["body"]
        self._check_model(body.get("model"))
        said = _read_settings(body, _BODY_KEYS[endpoint])
        text, token_ids, messages = None, None, None
        if endpoint == "chat":
            messages = read_messages(body.get("messages"))
        else:
            text, token_ids = read_prompt(_only_prompt(body.get("prompt")))
        return Prompt(
            index=index,
            id=id,
            text=text,
            token_ids=token_ids,
            messages=messages,
            endpoint=endpoint,
            settings=values.settings(said),
            return_token_ids=values.flag(body, "return_token_ids"),
            chat_template_kwargs=read_chat_template_kwargs(body, messages),
        )

    def _check_model(self, said: Json) -> None:
        if type(said) is not str or not said:
            raise LineInvalid(f"`body.model` is {shown(said)}; it must name a model")
        if self._model is not None and not same_model(said, self._model):
            raise LineInvalid(f"`body.model` is {shown(said)}; this job runs on {shown(self._model)}")


def _check_envelope(line: dict[str, Json]) -> None:
    for key in line:
        if key not in KEYS:
            raise unknown_key(key, KEYS)
    if line.get("method") != "POST":
        raise LineInvalid(f'`method` is {shown(line.get("method"))}; it must be "POST"')
    url = line.get("url")
    if type(url) is not str or url not in ENDPOINTS:
        raise LineInvalid(f"`url` is {shown(url)}; it must be {' or '.join(ENDPOINTS)}")
    if type(line.get("body")) is not dict:
        raise LineInvalid(f"`body` is {shown(line.get('body'))}; it must be an object")


def _read_settings(body: dict[str, Json], known: tuple[str, ...]) -> dict[str, Json]:
    said: dict[str, Json] = {}
    for key, value in body.items():
        if key not in known:
            if key not in _WITHOUT_EFFECT:
                refuse_key(key, value, known)
        elif value is not None and (reader := values.SETTING_READERS.get(key)):
            said[key] = reader(key, value)
    newer = body.get("max_completion_tokens")
    if newer is not None:
        newer = values.integer("max_completion_tokens", newer, "max_tokens")
        if said.setdefault("max_tokens", newer) != newer:
            raise LineInvalid(f"`max_tokens` is {said['max_tokens']:,} but `max_completion_tokens` is {newer:,}")
    return said


def _only_prompt(value: Json) -> Json:
    """The one prompt of a `prompt` field, which may stand in a list of its own."""
    if value is None:
        raise LineInvalid("`prompt` is missing; it must be a string or a list of token ids")
    if type(value) is not list or not value or type(value[0]) not in (str, list):
        return value
    if len(value) > 1:
        raise LineInvalid(f"`prompt` is {shown(value)} prompts; several prompts on a line are not supported")
    return value[0]
