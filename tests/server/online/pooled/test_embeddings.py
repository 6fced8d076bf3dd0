"""OpenAI's client gets embeddings, and a plain client gets rankings, from a worker that plays by a script."""

from __future__ import annotations

import uuid
from array import array

import httpx
import pytest
from openai import BadRequestError, OpenAI

from jobs.online import online_keys
from jobs.online.messages import End, OnlineRequest
from jobs.online.redis_online import RedisOnline
from jobs.records.completion import Completion, RankedDocument, Usage
from jobs.records.model_card import ModelCard
from jobs.records.prompt import EmbedWish, RerankWish
from jobs.records.sampling import FinishReason
from jobs.stores.protocol import JobStore
from testing.jobs.scripted_worker import ScriptedWorker, taken
from testing.processes.valkey import ValkeyProcess
from tests.server.online.conftest import FAR_FUTURE_MS, Background

VECTORS = [array("f", [0.6, -0.8]), array("f", [0.1, 0.2])]


@pytest.fixture
def model(store: JobStore) -> str:
    """A served embedding model that only this test uses."""
    name = f"embedder-{uuid.uuid4().hex[:8]}"
    store.fleet.publish_model(ModelCard(name, 1000, 2048, has_chat_template=True, kind="embedding", embedding_size=2))
    return name


@pytest.fixture
def ranker(store: JobStore, valkey: ValkeyProcess, exchange: RedisOnline) -> ScriptedWorker:
    """A worker of a language model that only this test uses."""
    worker = ScriptedWorker(exchange, f"reranker-{uuid.uuid4().hex[:8]}")
    store.fleet.publish_model(ModelCard(worker.model, 1000, 2048, has_chat_template=True))
    with valkey.client() as redis:
        redis.zadd(online_keys.workers(worker.model), {worker.name: FAR_FUTURE_MS})
    return worker


def answer(worker: ScriptedWorker, request: OnlineRequest, vectors: list[array[float]]) -> None:
    wish = request.prompt.embed
    assert wish is not None
    completion = Completion(
        index=0,
        id=request.id,
        finish_reason=FinishReason.STOP,
        usage=Usage(9, 0),
        endpoint=request.prompt.endpoint,
        embeddings=tuple(vector.tobytes() for vector in vectors),
        as_base64=wish.as_base64,
    )
    worker.say(request, taken(request), End(request.id, request.attempt, completion))


def test_openais_client_gets_the_numbers_of_the_worker(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    waiting = background(client.embeddings.create, model=model, input=["one", "two"], dimensions=2)
    request = scripted.take()
    assert request.prompt.embed == EmbedWish(dimensions=2, as_base64=True)  # what the client asks for by itself
    assert [part.text for part in request.prompt.parts()] == ["one", "two"]
    answer(scripted, request, VECTORS)
    found = waiting.result()
    assert [array("f", each.embedding) for each in found.data] == VECTORS
    assert (found.model, found.usage.prompt_tokens, found.usage.total_tokens) == (model, 9, 9)


def test_a_client_that_asks_for_numbers_gets_numbers(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    waiting = background(client.embeddings.create, model=model, input=[1, 2, 3], encoding_format="float")
    request = scripted.take()
    assert request.prompt.token_ids == (1, 2, 3)
    answer(scripted, request, VECTORS[:1])
    assert waiting.result().data[0].embedding == [0.6, -0.8]


def test_documents_come_back_in_the_workers_order(
    http: httpx.Client, ranker: ScriptedWorker, background: Background
) -> None:
    body = {"model": ranker.model, "query": "Where?", "documents": ["a", "b"], "return_documents": True}
    waiting = background(http.post, "/v1/rerank", json=body)
    request = ranker.take()
    assert request.prompt.rerank == RerankWish("Where?", return_documents=True)
    ranking = (RankedDocument(1, 0.75, "b"), RankedDocument(0, 0.25, "a"))
    completion = Completion(0, request.id, usage=Usage(9, 0), endpoint="rerank", ranking=ranking)
    ranker.say(request, taken(request), End(request.id, request.attempt, completion))
    found = waiting.result().json()
    assert found["results"] == [
        {"index": 1, "relevance_score": 0.75, "document": {"text": "b"}},
        {"index": 0, "relevance_score": 0.25, "document": {"text": "a"}},
    ]
    assert found["usage"] == {"prompt_tokens": 9, "total_tokens": 9}


def test_requests_are_refused_by_models_that_do_not_make_what_they_want(
    client: OpenAI, model: str, ranker: ScriptedWorker
) -> None:
    with pytest.raises(BadRequestError, match=r"This asks for embeddings, but .* makes texts"):
        client.embeddings.create(model=ranker.model, input="one")
    with pytest.raises(BadRequestError, match="makes only embeddings"):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(BadRequestError, match=r"embeddings of .* have 1 to 2 values"):
        client.embeddings.create(model=model, input="one", dimensions=3)


def test_an_answer_that_comes_as_a_whole_is_not_streamed(http: httpx.Client, model: str) -> None:
    reply = http.post("/v1/embeddings", json={"model": model, "input": "one", "stream": True})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "stream")
