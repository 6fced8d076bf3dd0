"""The events of `/v1/responses`. Each has a name and a running number, and the whole response is in the last one."""

from __future__ import annotations

import time
from typing import Literal

from jobs.files.results.origin import Origin
from jobs.files.results.parts.logprobs import token_objects
from jobs.files.results.response_bodies import completion_body, object_key
from jobs.records.completion import Completion, Logprobs
from server.api.body_checks import Json
from server.events.event_stream import event
from server.middleware.api_error import ApiError
from server.online.under_way import Kind, NewText

_STATELESS = {"store": False}  # no response is kept, whatever the request says


def stateless(body: dict[str, Json]) -> dict[str, Json]:
    """Return the object of a response, with the note that it is not kept."""
    return body | _STATELESS


class ResponseEvents:
    """Implements `EventWriter` for `/v1/responses`.

    Args:
        origin: The request and its model.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._key = object_key(origin, 0)
        self._number = 0  # number of the next event
        self._place = 0  # index of the current item in the output
        self._open: Kind | None = None  # kind of the current item
        self._text = ""  # text of the current item so far
        self._num_tokens = 0  # tokens with log-probabilities so far
        self._created_at = int(time.time())

    def begin(self) -> bytes:
        """Return the response before it has any output."""
        response = self._empty("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def text(self, new: NewText) -> bytes:
        """Return a part of the message or of the thought. The first part opens its item."""
        change = b"" if new.kind == self._open else self._close() + self._begin(new.kind)
        self._text += new.text
        self._num_tokens += 0 if new.logprobs is None else new.logprobs.num_tokens
        name = "response.output_text.delta" if new.kind == "content" else "response.reasoning_text.delta"
        return change + self._event(name, **self._here(), delta=new.text, **_logprobs(new.kind, new.logprobs))

    def end(self, completion: Completion) -> bytes:
        """Return the rest of the output, and the whole response."""
        response = stateless(completion_body(completion, self._origin)) | {"created_at": self._created_at}
        events = self._rest_of_logprobs(completion.logprobs) + self._close(response["status"], completion.logprobs)
        for item in response["output"][self._place :]:
            events += self._whole(item)
        return events + self._event(f"response.{response['status']}", response=response)

    def fail(self, error: ApiError) -> bytes:
        """Return the response with its error. Nothing follows."""
        said = {"code": error.code or "server_error", "message": error.message}
        return self._event("response.failed", response=self._empty("failed") | {"error": said})

    def _begin(self, kind: Kind) -> bytes:
        self._open, self._text = kind, ""
        opened = self._event("response.output_item.added", output_index=self._place, item=self._item("in_progress"))
        part = {"type": _PARTS[kind], "text": ""} | _annotations(kind)
        return opened + self._event("response.content_part.added", **self._here(), part=part)

    def _rest_of_logprobs(self, logprobs: Logprobs | None) -> bytes:
        """Return the log-probabilities of the message's tokens without a text, which no delta has had."""
        rest = [] if logprobs is None else token_objects(logprobs)[self._num_tokens :]
        if self._open != "content" or not rest:
            return b""
        return self._event("response.output_text.delta", **self._here(), delta="", logprobs=rest)

    def _close(self, status: str = "completed", logprobs: Logprobs | None = None) -> bytes:
        """Return the end of the current item, if there is one.

        Args:
            status: How the item ended.
            logprobs: The log-probabilities of the message, if this is its end and the client asks for them.
        """
        kind = self._open
        if kind is None:
            return b""
        name = "response.output_text.done" if kind == "content" else "response.reasoning_text.done"
        part = {"type": _PARTS[kind], "text": self._text} | _annotations(kind)
        if logprobs is not None:
            part |= _logprobs(kind, logprobs)
        events = self._event(name, **self._here(), text=self._text, **_logprobs(kind, logprobs))
        events += self._event("response.content_part.done", **self._here(), part=part)
        events += self._event("response.output_item.done", output_index=self._place, item=self._item(status, part))
        self._open = None
        self._place += 1
        return events

    def _whole(self, item: dict[str, Json]) -> bytes:
        """Return the events of an item that comes in one piece: a function call, or an empty message."""
        place = self._place
        self._place += 1
        if item["type"] != "function_call":
            return self._event("response.output_item.added", output_index=place, item=item) + self._event(
                "response.output_item.done", output_index=place, item=item
            )
        here, said = {"item_id": item["id"], "output_index": place}, item["arguments"]
        begun = item | {"arguments": "", "status": "in_progress"}
        return (
            self._event("response.output_item.added", output_index=place, item=begun)
            + self._event("response.function_call_arguments.delta", **here, delta=said)
            + self._event("response.function_call_arguments.done", **here, name=item["name"], arguments=said)
            + self._event("response.output_item.done", output_index=place, item=item)
        )

    def _item(self, status: str, *content: dict[str, Json]) -> dict[str, Json]:
        """Return the current item with its content."""
        common = {"id": self._item_id(), "status": status, "content": list(content)}
        if self._open == "content":
            return common | {"type": "message", "role": "assistant"}
        return common | {"type": "reasoning", "summary": []}

    def _here(self) -> dict[str, Json]:
        return {"item_id": self._item_id(), "output_index": self._place, "content_index": 0}

    def _item_id(self) -> str:
        return f"{'msg' if self._open == 'content' else 'rs'}_{self._key}"

    def _empty(self, status: Literal["in_progress", "failed"]) -> dict[str, Json]:
        return {
            "id": f"resp_{self._key}",
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._origin.model,
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
        } | _STATELESS

    def _event(self, name: str, /, **fields: Json) -> bytes:
        number = self._number
        self._number += 1
        return event({"type": name, "sequence_number": number, **fields}, name)


_PARTS: dict[Kind, str] = {"content": "output_text", "reasoning": "reasoning_text"}


def _annotations(kind: Kind) -> dict[str, Json]:
    return {"annotations": []} if kind == "content" else {}


def _logprobs(kind: Kind, logprobs: Logprobs | None = None) -> dict[str, Json]:
    return {"logprobs": [] if logprobs is None else token_objects(logprobs)} if kind == "content" else {}
