"""Read OpenAI Batch input lines, `{"custom_id", "method", "url", "body"}`. Files for OpenAI's service run unchanged.

The body accepts the API's sampling keys and vLLM's additional ones (`top_k`, `min_tokens`, `ignore_eos`, …). A key of
the API that is not supported is accepted only with a value that has no effect. One default differs: without
`max_tokens`, a completion may use the whole context on both endpoints. The API stops `/v1/completions` at 16 tokens.
"""

from __future__ import annotations

from jobs.files.formats import values
from jobs.files.formats.fields import make_prompt, read_id, read_settings
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.files.formats.known_keys import unknown_key
from jobs.files.formats.messages import read_messages
from jobs.files.formats.model_checks import same_model
from jobs.records.prompt import Endpoint, Prompt

KEYS = ("custom_id", "method", "url", "body")
ENDPOINTS: dict[str, Endpoint] = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}

# Keys about accounts, storage and caches. They do not change the completion, so they are ignored.
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
        model: The job's model, which every `body.model` must name. None to accept any model.
    """

    name = "openai"

    def __init__(self, model: str | None) -> None:
        self._model = model

    def id_of(self, line: dict[str, Json]) -> str:
        """Return the line's `custom_id`, which every line must have. Raises `LineInvalid`."""
        return read_id("custom_id", line.get("custom_id"))

    def endpoint_of(self, line: dict[str, Json]) -> Endpoint:
        """Return the line's endpoint. Never raises, because the error of a bad line needs an endpoint, too."""
        url = line.get("url")
        return ENDPOINTS.get(url, "chat") if type(url) is str else "chat"

    def prompt_of(self, line: dict[str, Json], index: int, id: str) -> Prompt:
        """Convert the line to a prompt. Raises `LineInvalid`."""
        _check_envelope(line)
        endpoint, body = ENDPOINTS[line["url"]], line["body"]
        self._check_model(body.get("model"))
        said = _read_settings(body, _BODY_KEYS[endpoint])
        if endpoint == "chat":
            return make_prompt(body, (index, id), endpoint, None, read_messages(body.get("messages")), said)
        return make_prompt(body, (index, id), endpoint, _only_prompt(body.get("prompt")), None, said)

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
    said = read_settings(body, known, _WITHOUT_EFFECT)
    newer = body.get("max_completion_tokens")
    if newer is not None:
        newer = values.integer("max_completion_tokens", newer, "max_tokens")
        if said.setdefault("max_tokens", newer) != newer:
            raise LineInvalid(f"`max_tokens` is {said['max_tokens']:,} but `max_completion_tokens` is {newer:,}")
    return said


def _only_prompt(value: Json) -> Json:
    """Return the prompt of a `prompt` key. A list of one prompt is accepted; several prompts raise `LineInvalid`."""
    if value is None:
        raise LineInvalid("`prompt` is missing; it must be a string or a list of token ids")
    if type(value) is not list or not value or type(value[0]) not in (str, list):
        return value
    if len(value) > 1:
        raise LineInvalid(f"`prompt` is {shown(value)} prompts; several prompts on a line are not supported")
    return value[0]
