"""The events of `/v1/chat/completions` and `/v1/completions`: chunks of an object, then `[DONE]`.

Each chunk has the log-probabilities of the tokens whose text begins in it. Those without a text are in the last chunk.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from jobs.files.results.origin import Origin
from jobs.files.results.parts.logprobs import TextOffsets, chat_logprobs, text_logprobs
from jobs.files.results.response_bodies import completion_body, object_key
from jobs.records.completion import Completion
from server.api.body_checks import Json
from server.events.event_stream import DONE, event, json_of
from server.middleware.api_error import ApiError
from server.online.under_way import Kind, NewText

_ONLY_AT_THE_END = ("stop_reason", "token_ids")  # keys of a choice that its last chunk has


class _TextChunk:
    """A chunk that is sent many times, with another text each time. All but its text is encoded once.

    Args:
        chunk: The chunk with an empty text.
        key: The key of the text. It is the last key of this name, because strings in JSON have no bare quotes.
    """

    def __init__(self, chunk: bytes, key: str) -> None:
        head, colon, self._tail = chunk.rpartition(f'"{key}":""'.encode())
        self._head = head + colon[:-2]

    def with_text(self, text: str) -> bytes:
        """Return the chunk with a text."""
        return self._head + json_of(text) + self._tail


class _Chunks:
    """Makes chunks, which share their id, time and model.

    Args:
        origin: The request and its model.
        prefix: Prefix of the id.
        kind: Value of `object`.
        wants_usage: True: a last chunk has the token counts, and all others have null for them.
    """

    def __init__(self, origin: Origin, prefix: str, kind: str, wants_usage: bool) -> None:
        self._head = {"id": f"{prefix}-{object_key(origin, 0)}", "object": kind, "created": int(time.time())}
        self._head["model"] = origin.model
        self._wants_usage = wants_usage

    def of_choice(self, choice: dict[str, Json]) -> bytes:
        """Return a chunk of one completion."""
        usage = {"usage": None} if self._wants_usage else {}
        return event({**self._head, "choices": [choice], **usage})

    def end(self, body: dict[str, Json]) -> bytes:
        """Return what follows the last chunk of a completion. `body` is the object of the whole answer."""
        usage = event({**self._head, "choices": [], "usage": body["usage"]}) if self._wants_usage else b""
        return usage + DONE


class ChatEvents:
    """Implements `EventWriter` for `/v1/chat/completions`.

    Args:
        origin: The request and its model.
        num_choices: Number of completions.
        wants_usage: True if the client asks for the token counts.
    """

    def __init__(self, origin: Origin, num_choices: int, wants_usage: bool) -> None:
        self._origin = origin
        self._num_choices = num_choices
        self._chunks = _Chunks(origin, "chatcmpl", "chat.completion.chunk", wants_usage)
        self._of_texts: dict[tuple[int, Kind], _TextChunk] = {}
        self._num_tokens: Counter[int] = Counter()  # tokens with log-probabilities so far, by completion

    def begin(self) -> bytes:
        """Return a chunk with the role for each completion."""
        delta = {"role": "assistant", "content": ""}
        return b"".join(self._delta(place, delta) for place in range(self._num_choices))

    def text(self, new: NewText) -> bytes:
        """Return a chunk with a part of a message, or of its thought."""
        key = "content" if new.kind == "content" else "reasoning_content"
        if new.logprobs is not None:
            self._num_tokens[new.choice] += new.logprobs.num_tokens
            return self._delta(new.choice, {key: new.text}, logprobs=chat_logprobs(new.logprobs))
        chunk = self._of_texts.get((new.choice, new.kind))
        if chunk is None:
            chunk = _TextChunk(self._delta(new.choice, {key: ""}), key)
            self._of_texts[new.choice, new.kind] = chunk
        return chunk.with_text(new.text)

    def end(self, completion: Completion) -> bytes:
        """Return the tool calls and the end of each completion."""
        body = completion_body(completion, self._origin)
        return b"".join(map(self._end_of, body["choices"])) + self._chunks.end(body)

    def fail(self, error: ApiError) -> bytes:
        """Return the error. Nothing follows."""
        return event(error.body())

    def _end_of(self, choice: dict[str, Json]) -> bytes:
        calls = choice["message"].get("tool_calls", ())
        deltas = b"".join(self._delta(choice["index"], delta) for delta in _call_deltas(calls))
        last = {key: choice[key] for key in _ONLY_AT_THE_END if key in choice}
        last["logprobs"] = _rest(choice["logprobs"], self._num_tokens[choice["index"]])
        return deltas + self._delta(choice["index"], {}, finish_reason=choice["finish_reason"], **last)

    def _delta(self, place: int, delta: dict[str, Json], finish_reason: str | None = None, **more: Json) -> bytes:
        choice = {"index": place, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunks.of_choice(choice | more)


def _rest(logprobs: dict[str, Any] | None, count: int) -> dict[str, Json] | None:
    """Return the log-probabilities of a choice without those of its first `count` tokens. None if no others are left.

    Args:
        logprobs: Lists with one element per token. A key without a list stays as it is.
        count: Number of tokens.
    """
    if logprobs is None:
        return None
    rest = {key: value[count:] if isinstance(value, list) else value for key, value in logprobs.items()}
    return rest if any(rest.values()) else None


def _call_deltas(calls: list[dict[str, Any]]) -> Iterator[dict[str, Json]]:
    """Iterate over two parts of each call: its name, then its arguments."""
    for place, call in enumerate(calls):
        head = {"name": call["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{"index": place, "id": call["id"], "type": "function", "function": head}]}
        yield {"tool_calls": [{"index": place, "function": {"arguments": call["function"]["arguments"]}}]}


class CompletionEvents:
    """Implements `EventWriter` for `/v1/completions`.

    Args:
        origin: The request and its model.
        wants_usage: True if the client asks for the token counts.
    """

    def __init__(self, origin: Origin, wants_usage: bool) -> None:
        self._origin = origin
        self._chunks = _Chunks(origin, "cmpl", "text_completion", wants_usage)
        self._of_texts: dict[int, _TextChunk] = {}
        self._num_tokens: Counter[int] = Counter()  # tokens with log-probabilities so far, by completion
        self._offsets: defaultdict[int, TextOffsets] = defaultdict(TextOffsets)  # by completion

    def begin(self) -> bytes:
        """Return nothing: a text has no role."""
        return b""

    def text(self, new: NewText) -> bytes:
        """Return a chunk with a part of a text."""
        if new.logprobs is not None:
            self._num_tokens[new.choice] += new.logprobs.num_tokens
            logprobs = text_logprobs(new.logprobs, self._offsets[new.choice])
            return self._part(new.choice, new.text, logprobs=logprobs)
        chunk = self._of_texts.get(new.choice)
        if chunk is None:
            chunk = self._of_texts[new.choice] = _TextChunk(self._part(new.choice, ""), "text")
        return chunk.with_text(new.text)

    def end(self, completion: Completion) -> bytes:
        """Return the end of each completion."""
        body = completion_body(completion, self._origin)
        ends = b""
        for choice in body["choices"]:
            last = {key: choice[key] for key in _ONLY_AT_THE_END if key in choice}
            last["logprobs"] = _rest(choice["logprobs"], self._num_tokens[choice["index"]])
            ends += self._part(choice["index"], "", finish_reason=choice["finish_reason"], **last)
        return ends + self._chunks.end(body)

    def fail(self, error: ApiError) -> bytes:
        """Return the error. Nothing follows."""
        return event(error.body())

    def _part(self, place: int, text: str, finish_reason: str | None = None, **more: Json) -> bytes:
        choice = {"index": place, "text": text, "logprobs": None, "finish_reason": finish_reason}
        return self._chunks.of_choice(choice | more)
