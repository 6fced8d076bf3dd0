"""The endpoints of interactive requests. A worker answers through the store, in pieces or at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from jobs.files.results.origin import Origin
from jobs.files.results.response_bodies import completion_body
from jobs.online.messages import OnlineRequest
from jobs.records.completion import Completion
from jobs.records.prompt import Prompt
from server.access.caller import Caller, caller_of
from server.api.body_checks import invalid_value, object_in, read_body, required_text
from server.api.listing import json_reply
from server.api.models import served_model
from server.events.chunks import ChatEvents, CompletionEvents
from server.events.event_stream import WAITING, EventStream, departure
from server.events.event_writer import EventWriter
from server.events.response_events import ResponseEvents, stateless
from server.limits.token_count import count_tokens
from server.middleware.api_error import BUG, ApiError
from server.middleware.request_log import request_id_of
from server.online.line_errors import shutting_down
from server.online.request_body import StreamWish, read_prompt, read_stream_wish
from server.online.under_way import UnderWay
from server.state import Services

_log = logging.getLogger("server.errors")

HEADER_SECONDS = 15.0  # after which a stream begins although no worker has taken its request
COMMENT_SECONDS = 10.0  # between two comments of a stream without text, so that no proxy closes it

Writer = Callable[[Origin, Prompt, StreamWish], EventWriter]


class InteractiveApi:
    """Handles the requests that wait for their text.

    Args:
        services: What the handlers use.
        header_seconds: Time after which a stream begins although no worker has taken its request.
        comment_seconds: Time between two comments of a stream without text.
    """

    def __init__(
        self, services: Services, header_seconds: float = HEADER_SECONDS, comment_seconds: float = COMMENT_SECONDS
    ) -> None:
        self._services = services
        self._header_seconds = header_seconds
        self._comment_seconds = comment_seconds

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions: answer a conversation."""
        return await self._answer(
            request, lambda origin, prompt, wish: ChatEvents(origin, prompt.num_choices, wish.wants_usage)
        )

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions: continue a text."""
        return await self._answer(request, lambda origin, _, wish: CompletionEvents(origin, wish.wants_usage))

    async def responses(self, request: Request) -> Response:
        """POST /v1/responses: answer a conversation. Nothing is kept for a later request."""
        return await self._answer(request, lambda origin, _prompt, _wish: ResponseEvents(origin))

    async def score(self, request: Request) -> Response:
        """POST /v1/score: tell how likely some tokens follow a query with each of several items."""
        return await self._answer(request, None)

    async def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings: make embeddings of texts."""
        return await self._answer(request, None)

    async def rerank(self, request: Request) -> Response:
        """POST /v1/rerank: order documents by their relevance to a query."""
        return await self._answer(request, None)

    async def _answer(self, request: Request, writer: Writer | None) -> Response:
        """Answer a request, at once or in events. Without a writer of events, nothing can be streamed."""
        services = self._services
        if services.draining.is_set():
            raise shutting_down()
        body = object_in(await read_body(request, services.options.limits.body_bytes))
        card = await served_model(services, required_text(body, "model"))
        wish, request_id = read_stream_wish(body), request_id_of(request.scope)
        if wish.streams and writer is None:
            raise invalid_value("stream", "true", "false, because this answer comes as a whole")
        prompt = await services.disk_threads.run(read_prompt, body, request.scope["path"], card, request_id)
        under_way = await self._accept(prompt, card.name, wish.streams, caller_of(request.scope))
        leaving = asyncio.ensure_future(departure(request.receive))
        leaving.add_done_callback(partial(_note_departure, under_way))
        close = partial(self._close, request.scope, under_way, leaving)
        origin = Origin(request_id, card.name)
        try:
            if writer is None or not wish.streams:
                return await self._whole(under_way, origin, close)
            await self._begin(under_way)
        except BaseException:
            close()
            raise
        return EventStream(self._events(under_way, writer(origin, prompt, wish)), close)

    async def _accept(self, prompt: Prompt, model: str, streams: bool, caller: Caller) -> UnderWay:
        services, seconds = self._services, self._services.options.limits.interactive_seconds
        deadline = seconds + await services.online.store_time()
        attempt = OnlineRequest(
            prompt.id, services.online.server, model, prompt, deadline, stream=streams, project=caller.project
        )
        return await services.online.accept(attempt, caller.key_id, seconds)

    def _close(self, scope: Scope, under_way: UnderWay, leaving: asyncio.Task[None]) -> None:
        leaving.cancel()
        if under_way.completion is not None and under_way.completion.usage is not None:
            usage = under_way.completion.usage
            count_tokens(scope, usage.prompt_tokens + usage.completion_tokens)
        self._services.online.close(under_way)

    async def _whole(self, under_way: UnderWay, origin: Origin, close: Callable[[], None]) -> Response:
        """Return the answer at its end. Raises `ApiError`, and `ClientDisconnect` if nobody waits any more."""
        while not under_way.has_ended:
            await under_way.change(self._comment_seconds)
        completion = _outcome(under_way)
        close()
        body = completion_body(completion, origin)
        return json_reply(stateless(body) if completion.endpoint == "responses" else body)

    async def _begin(self, under_way: UnderWay) -> None:
        """Wait until a worker has taken the request, so that a bad request gets a status of its own."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._header_seconds
        while not under_way.has_begun and (left := until - loop.time()) > 0:
            await under_way.change(left)
        if under_way.has_ended:
            _outcome(under_way)

    async def _events(self, under_way: UnderWay, writer: EventWriter) -> AsyncIterator[bytes]:
        """Yield the events of an answer. The answer has a status already, so even a bug becomes an event."""
        try:
            async for some in self._sound_events(under_way, writer):
                yield some
        except Exception:  # noqa: BLE001 - the client must hear of every error
            _log.exception("the events of request %s broke off", under_way.request.id)
            yield writer.fail(ApiError(500, BUG, code="internal_error"))

    async def _sound_events(self, under_way: UnderWay, writer: EventWriter) -> AsyncIterator[bytes]:
        yield writer.begin()
        while not under_way.client_left:
            some = b"".join(map(writer.text, under_way.new_texts()))
            if under_way.error is not None:
                yield some + writer.fail(under_way.error)
                return
            if under_way.completion is not None:
                yield some + writer.end(under_way.completion)
                return
            if some:
                yield some
            if not await under_way.change(self._comment_seconds):
                yield WAITING


def _note_departure(under_way: UnderWay, leaving: asyncio.Task[None]) -> None:
    if not leaving.cancelled():
        under_way.leave()


def _outcome(under_way: UnderWay) -> Completion:
    """Return the result of a request that has ended. Raises `ApiError`, or `ClientDisconnect` without a client."""
    if under_way.error is not None:
        raise under_way.error
    if under_way.completion is None:
        raise ClientDisconnect
    return under_way.completion
