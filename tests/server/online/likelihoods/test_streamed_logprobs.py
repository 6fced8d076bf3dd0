"""OpenAI's client gets the log-probabilities of a streamed answer with its text; a worker plays by a script."""

from __future__ import annotations

from typing import Any

from openai import OpenAI

from jobs.online.messages import End, OnlineRequest, Piece, PieceTokens
from jobs.records.completion import Completion, Usage
from jobs.records.sampling import FinishReason
from testing.jobs.packed_logprobs import packed_logprobs
from testing.jobs.scripted_worker import ScriptedWorker, pieces, taken
from tests.server.online.conftest import MESSAGES, Background


def with_logprobs(request: OnlineRequest) -> End:
    """Two tokens with their log-probabilities."""
    logprobs = packed_logprobs([(1, -0.25), (2, -1.5)], {1: b"2 + 3", 2: b" = 5"})
    prompt = request.prompt
    result = Completion(
        0, prompt.id, "2 + 3 = 5", FinishReason.STOP, Usage(5, 2), endpoint=prompt.endpoint, logprobs=logprobs
    )
    return End(request.id, request.attempt, result)


def test_the_log_probabilities_of_a_streamed_chat_are_those_of_a_whole_one(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    asked: Any = {"model": model, "messages": MESSAGES, "logprobs": True, "top_logprobs": 1}
    found = []
    for stream in (False, True):
        answer = background(client.chat.completions.create, **asked, stream=stream)
        request = scripted.take()
        assert request.prompt.logprobs == 1
        scripted.say(request, taken(request), *pieces(request, "2 + 3"))
        scripted.say(request, with_logprobs(request))
        found.append(answer.result())
    whole, chunks = found
    tokens = whole.choices[0].logprobs.content
    assert [(each.token, each.logprob, bytes(each.bytes)) for each in tokens] == [
        ("2 + 3", -0.25, b"2 + 3"),
        (" = 5", -1.5, b" = 5"),
    ]
    parts = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs is not None]
    assert [each.to_dict() for part in parts for each in part.content] == [each.to_dict() for each in tokens]


def test_the_log_probabilities_of_a_streamed_text_are_those_of_a_whole_one(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    found = []
    for stream in (False, True):
        answer = background(
            lambda stream=stream: client.completions.create(model=model, prompt="2", logprobs=0, stream=stream)
        )
        request = scripted.take()
        assert request.prompt.logprobs == 0
        scripted.say(request, taken(request), with_logprobs(request))
        found.append(answer.result())
    whole = found[0].choices[0].logprobs
    assert (whole.tokens, whole.text_offset) == (["2 + 3", " = 5"], [0, 5])
    assert [chunk.choices[0].logprobs for chunk in found[1] if chunk.choices[0].logprobs is not None] == [whole]


def test_each_chunk_has_the_log_probabilities_of_the_tokens_that_begin_in_its_text(
    client: OpenAI, scripted: ScriptedWorker, model: str, background: Background
) -> None:
    answer = background(client.chat.completions.create, model=model, messages=MESSAGES, logprobs=True, stream=True)
    request = scripted.take()
    first = PieceTokens(0, (0,), packed_logprobs([(1, -0.25)], {1: b"2 + 3"}))
    piece = Piece(request.id, 0, 0, "2 + 3", tokens=first)
    scripted.say(request, taken(request), piece)
    stream = answer.result()
    chunks = [next(stream).choices[0], next(stream).choices[0]]  # the role, then the piece
    scripted.say(request, with_logprobs(request))
    chunks += [chunk.choices[0] for chunk in stream]
    found = {chunk.delta.content or chunk.finish_reason: chunk.logprobs for chunk in chunks}
    assert [[each.token for each in logprobs.content] for logprobs in found.values() if logprobs] == [
        ["2 + 3"],
        [" = 5"],
    ]
    assert found["2 + 3"] and found["stop"]
