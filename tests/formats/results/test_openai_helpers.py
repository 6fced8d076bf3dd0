"""OpenAI's helpers for Pydantic: what they send is a valid line, and they can read what becomes of the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel, Field

from jobs.constraints.grammar import grammar_of
from jobs.constraints.tool_calls import strict_calls
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.results.openai_lines import openai_line
from jobs.records.completion import Completion, ToolCall, Usage
from jobs.records.model_card import ModelCard
from jobs.records.sampling import FinishReason
from model.grammar import Grammars
from model.text.tokenizer import Tokenizer
from model.text.tool_calls import ToolCallParser
from tests.formats.results.test_result_lines import job, parsed
from tests.model.text.test_forced_calls import grammars, said, tokenizer

__all__ = ["grammars", "tokenizer"]  # fixtures
CARD = ModelCard("demo", 1280, 2048, True, tools="hermes")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    name: str = Field(max_length=6)
    colour: Colour | None


class Review(BaseModel):
    """A rated text."""

    label: Literal["good", "bad"]
    score: int = Field(ge=1, le=5)
    parts: list[Part] = Field(max_length=2)


class Weather(BaseModel):
    """The weather in a city."""

    city: Literal["Bonn", "Köln"]
    colour: Colour


@pytest.fixture
def client(tokenizer: Tokenizer, grammars: Grammars) -> Callable[[int], openai.OpenAI]:
    """`client(seed)`: a client whose requests are lines here, and a random model answers them."""

    def answer(body: dict[str, Any], seed: int) -> Completion:
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
        prompt = LineDecoder(LineRules(card=CARD)).decode(json.dumps(line).encode(), 0, 1)
        assert prompt.invalid is None
        parser, constraint = ToolCallParser.of(tokenizer, "hermes"), prompt.constraint or strict_calls(prompt, "hermes")
        assert parser is not None and constraint is not None
        beginning = [parser.start_id] if prompt.tools else []
        ids = said(grammars, grammar_of(constraint), seed, 400, beginning, parser.end_id)
        answer = parser.parse(ids, tokenizer.decode(ids), prompt.tools or ())
        calls = tuple(ToolCall(call.name, call.arguments) for call in answer.calls)
        reason = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
        return Completion(0, "a", answer.content, reason, Usage(5, 9), endpoint="chat", tool_calls=calls)

    def make(seed: int) -> openai.OpenAI:
        def respond(request: httpx.Request) -> httpx.Response:
            result = parsed(openai_line(answer(json.loads(request.content), seed), job("openai")))
            return httpx.Response(200, json=result["response"]["body"])

        http_client: Any = httpx.Client(transport=httpx.MockTransport(respond))
        return openai.OpenAI(api_key="x", base_url="http://localhost/v1", http_client=http_client)

    return make


@pytest.mark.parametrize("seed", range(3))
def test_a_pydantic_model_as_response_format_is_read_back(client: Callable[[int], openai.OpenAI], seed: int) -> None:
    completion = client(seed).chat.completions.parse(
        model="demo", messages=[{"role": "user", "content": "Rate it."}], response_format=Review
    )
    assert isinstance(completion.choices[0].message.parsed, Review)


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize("seed", range(2))
def test_a_pydantic_model_as_a_function_tool_is_called_with_its_arguments(
    client: Callable[[int], openai.OpenAI], seed: int, choice: Literal["auto", "required"]
) -> None:
    completion = client(seed).chat.completions.parse(
        model="demo",
        messages=[{"role": "user", "content": "How is the weather?"}],
        tools=[openai.pydantic_function_tool(Weather)],
        tool_choice=choice,
    )
    calls = completion.choices[0].message.tool_calls
    assert calls and all(isinstance(call.function.parsed_arguments, Weather) for call in calls)
