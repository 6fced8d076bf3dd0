"""Read OpenAI Batch input lines, `{"custom_id", "method", "url", "body"}`. Files for OpenAI's service run unchanged.

The body accepts the API's sampling keys and vLLM's additional ones (`top_k`, `min_tokens`, `ignore_eos`, …). A key of
the API that is not supported is accepted only with a value that has no effect. One default differs: without
`max_tokens`, a completion may use the whole context on each endpoint. The API stops `/v1/completions` at 16 tokens.
"""

from __future__ import annotations

from msgspec import structs

from jobs.files.formats import responses
from jobs.files.formats.features.echo import generating, with_echo
from jobs.files.formats.features.embeddings import EMBED_KEYS, read_embedding
from jobs.files.formats.features.labels import LABEL_KEYS, read_labels
from jobs.files.formats.features.logprobs import LOGPROB_KEYS
from jobs.files.formats.features.reranking import RERANK_KEYS, read_ranking
from jobs.files.formats.features.thinking import TEMPLATE_KEYS
from jobs.files.formats.features.tools import TOOL_KEYS, with_tools
from jobs.files.formats.fields import (
    TRUNCATION_KEYS,
    Faults,
    Notes,
    make_prompt,
    read_prompt,
    read_settings,
    with_extra_body,
)
from jobs.files.formats.json_line import Json, LineInvalid, shown
from jobs.files.formats.known_fields import (
    FIELDS,
    POOLING_FIELDS,
    RESPONSES_FIELDS,
    SETTING_KEYS,
    misspelled_key,
    unknown_key,
)
from jobs.files.formats.messages import read_messages
from jobs.records.model_card import ToolFormat
from jobs.records.prompt import MAX_CHOICES, Endpoint, Prompt

KEYS = ("custom_id", "method", "url", "body")
_ENDPOINTS: dict[str, Endpoint] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/score": "score",
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank",
}
_NAMES = f"{', '.join([*_ENDPOINTS][:-1])} or {[*_ENDPOINTS][-1]}"
_OUTPUT_KEYS = ("n", "return_token_ids", *TRUNCATION_KEYS, *LOGPROB_KEYS)
_CHAT_KEYS = (*_OUTPUT_KEYS, "include_reasoning", *TOOL_KEYS, *TEMPLATE_KEYS)
_OWN: dict[Endpoint, frozenset[str]] = {
    "chat": frozenset({"messages", "model", *_CHAT_KEYS}),
    "completions": frozenset({"prompt", "model", "echo", *_OUTPUT_KEYS}),
    "responses": responses.OWN,
    "score": frozenset({"model", *LABEL_KEYS}),
    "embeddings": frozenset({"input", "model", *EMBED_KEYS}),
    "rerank": frozenset({"model", *RERANK_KEYS}),
}
_KNOWN: dict[Endpoint, tuple[str, ...]] = {
    "chat": ("messages", "model", *SETTING_KEYS, *_CHAT_KEYS),
    "completions": ("prompt", "model", "echo", *SETTING_KEYS, *_OUTPUT_KEYS),
    "responses": (*responses.KEYS, *SETTING_KEYS, *TOOL_KEYS),
    "score": ("model", *LABEL_KEYS),
    "embeddings": ("input", "model", *EMBED_KEYS),
    "rerank": ("model", *RERANK_KEYS),
}
_TABLES = {"responses": RESPONSES_FIELDS, "embeddings": POOLING_FIELDS, "rerank": POOLING_FIELDS}


class OpenAIFormat:
    """Reads lines of an OpenAI Batch file.

    Args:
        notes: Gets what deserves a notice.
        kept: Names of columns that are kept even if they resemble a key of ours.
        calls: How the model writes calls of tools; None if unknown.
    """

    name = "openai"
    id_key = "custom_id"
    model_key = "body.model"
    no_columns = frozenset(KEYS)

    def __init__(self, notes: Notes, kept: tuple[str, ...] = (), calls: ToolFormat | None = None) -> None:
        self._notes = notes
        self._calls = calls
        self._kept = kept

    def model_of(self, line: dict[str, Json]) -> Json:
        """Return the model that the line names, or None."""
        body = line.get("body")
        return body.get("model") if type(body) is dict else None

    def with_n(self, line: dict[str, Json], n: int) -> dict[str, Json]:
        """Return the line with a number of completions, unless its body says it itself."""
        body = line.get("body")
        return line if type(body) is not dict or body.get("n") is not None else line | {"body": body | {"n": n}}

    def no_columns_of(self, _prompt: Prompt) -> frozenset[str]:
        """Return the keys of a line that are no columns."""
        return self.no_columns

    def endpoint_of(self, line: dict[str, Json]) -> Endpoint:
        """Return the line's endpoint. Never raises, because the error of a bad line needs an endpoint, too."""
        url, body = line.get("url"), line.get("body")
        if url is None and type(body) is dict:
            return _endpoint_of_body(body)
        return (type(url) is str and (_ENDPOINTS.get(url) or _endpoint(url))) or "chat"

    def prompt_of(self, line: dict[str, Json], place: tuple[int, str], faults: Faults) -> Prompt | None:
        """Convert the line to a prompt. Adds to `faults`, and returns None if the line has any."""
        body = self._body(line, faults)
        if body is None:
            return None
        endpoint = self.endpoint_of(line)
        asked, body = body, generating(body) if endpoint == "completions" else body
        said, unknown = read_settings(body, _OWN[endpoint], faults, self._notes, _TABLES.get(endpoint, FIELDS))
        if unknown:
            faults.found += [str(unknown_key(key, _KNOWN[endpoint])) for key in unknown]
        if endpoint in ("embeddings", "rerank", "score"):
            return _without_text(endpoint, body, said, place, faults)
        if endpoint == "completions":
            first, more = faults.catch(_several_prompts, body.get("prompt"), default=(None, ()))
            prompt = make_prompt(body, place, endpoint, said, faults, first)
            if prompt is not None and more:
                prompt = faults.catch(_with_more, prompt, more, default=None)
            return prompt if prompt is None else faults.catch(with_echo, prompt, asked, default=None)
        if endpoint == "responses":
            messages = responses.read_responses_messages(body, faults, self._notes.ignored)
            body = faults.catch(responses.template_fields, body, default=body)
            body = faults.catch(responses.logprob_fields, body, default=body)
            constraint = faults.catch(responses.read_text, body.get("text"), default=None)
            if constraint is not None and said.setdefault("constraint", constraint) != constraint:
                faults.found.append("`text.format` and another key of the body ask for different formats")
        else:
            messages = faults.catch(read_messages, body.get("messages"), self._notes.ignored, default=None)
        made = make_prompt(body, place, endpoint, said, faults, None, messages)
        return with_tools(made, body, faults, self._notes, self._calls)

    def _body(self, line: dict[str, Json], faults: Faults) -> dict[str, Json] | None:
        """Return the line's body after a check of the envelope around it. None if there is no body to read."""
        for key in () if self.no_columns.issuperset(line) else line:
            if key not in KEYS and key not in self._kept and misspelled_key(key, KEYS) is not None:
                faults.found.append(str(unknown_key(key, KEYS)))
        method, url, body = line.get("method"), line.get("url"), line.get("body")
        if method != "POST" and method is not None and not (type(method) is str and method.upper() == "POST"):
            faults.found.append(f'`method` is {shown(method)}; it must be "POST"')
        if url is not None and (type(url) is not str or (url not in _ENDPOINTS and not _endpoint(url))):
            faults.found.append(f"`url` is {shown(url)}; it must be {_NAMES}")
        if type(body) is not dict:
            faults.found.append(f"`body` is {shown(body)}; it must be an object")
            return None
        return faults.catch(with_extra_body, body, default={}) if "extra_body" in body else body


def _without_text(
    endpoint: Endpoint, body: dict[str, Json], said: dict[str, Json], place: tuple[int, str], faults: Faults
) -> Prompt | None:
    """Convert the body of a line that asks for no text. Adds to `faults`, and returns None if the line has any."""
    if endpoint == "embeddings":
        return read_embedding(body, "input", place, faults)
    if endpoint == "rerank":
        return read_ranking(body, place, faults)
    if said:
        faults.found.append(f"`{next(iter(said))}` has no meaning for scores, because no text is generated")
    return read_labels(body, place, faults)


def _endpoint_of_body(body: dict[str, Json]) -> Endpoint:
    """Return the endpoint of a body without a URL: the one whose main key the body has."""
    if "messages" in body:
        return "chat"
    if "label_token_ids" in body and "query" in body:
        return "score"
    if "documents" in body and "query" in body:
        return "rerank"
    return "completions" if "prompt" in body else "responses" if "input" in body else "chat"


def _endpoint(url: str) -> Endpoint | None:
    """Return the endpoint of a URL or of a path. None if it names no endpoint that is supported.

    The service's host, its version (`/v4`), a query and a slash at the end do not matter.
    """
    endpoint = _ENDPOINTS.get(url)
    if endpoint is None:
        path = url.partition("?")[0].rstrip("/")
        endpoint = next((end for name, end in _ENDPOINTS.items() if path.endswith(name.removeprefix("/v1"))), None)
    return endpoint


def _several_prompts(value: Json) -> tuple[Json, list[Json]]:
    """Return the first prompt of a `prompt` key, and the others if it is a list of prompts. Raises `LineInvalid`."""
    if value is None:
        raise LineInvalid("`prompt` is missing; it must be a string or a list of token ids")
    if type(value) is not list or not value or type(value[0]) not in (str, list):
        return value, []
    if len(value) > MAX_CHOICES:
        raise LineInvalid(f"`prompt` has {len(value):,} prompts; at most {MAX_CHOICES:,} are allowed")
    return value[0], value[1:]


def _with_more(prompt: Prompt, more: list[Json]) -> Prompt:
    """Return a line with further prompts. Raises `LineInvalid`."""
    read = []
    for place, value in enumerate(more, start=1):
        if value is None:
            raise LineInvalid(f"`prompt[{place}]` is null; it must be a string or a list of token ids")
        text, token_ids = read_prompt(value)
        read.append(text if text is not None else token_ids or ())
    if prompt.n * (1 + len(read)) > MAX_CHOICES:
        raise LineInvalid(
            f"`n` is {prompt.n} for {1 + len(read):,} prompts; at most {MAX_CHOICES:,} completions per line are allowed"
        )
    return structs.replace(prompt, more_prompts=tuple(read))
