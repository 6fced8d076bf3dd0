"""How results show the thought of a completion."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from jobs.files.results.native_lines import native_line
from jobs.files.results.openai_lines import openai_line
from jobs.files.results.parts.reasoning import ReasoningField
from jobs.records.completion import Completion, Usage
from jobs.records.prompt import Endpoint
from jobs.records.sampling import FinishReason
from tests.formats.results.test_result_lines import job, parsed

KEYS = {"reasoning", "reasoning_content"}


def thought(endpoint: Endpoint = "native", cut: bool = False, **more: Any) -> Completion:
    """A completion with a thought of 5 tokens, and an answer unless it was cut inside the thought."""
    usage = Usage(10, 5 if cut else 9, 5)
    reason = FinishReason.LENGTH if cut else FinishReason.STOP
    text = "" if cut else "Four."
    more = {"reasoning": "2 and 2", "ended_in_thought": cut, **more}
    return Completion(3, "q-17", text, reason, usage, endpoint=endpoint, finished_at=1.7e9, **more)


def body(completion: Completion, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = parsed(openai_line(completion, job("openai"), **options))["response"]["body"]
    return found


def test_a_native_result_has_the_thought_beside_the_completion() -> None:
    result = parsed(native_line(thought()))
    assert list(result)[:3] == ["id", "completion", "reasoning"]
    assert (result["completion"], result["reasoning"]) == ("Four.", "2 and 2")
    assert result["usage"] == {"prompt_tokens": 10, "completion_tokens": 9, "reasoning_tokens": 5}


def test_a_chat_completion_has_the_thought_in_its_message_and_its_tokens_in_the_usage() -> None:
    found = ChatCompletion.model_validate(body(thought("chat")), strict=True)
    message = found.choices[0].message
    assert (message.content, getattr(message, "reasoning_content", None)) == ("Four.", "2 and 2")
    assert found.usage is not None and found.usage.completion_tokens_details is not None
    assert found.usage.completion_tokens_details.reasoning_tokens == 5
    assert found.usage.completion_tokens == 9


def test_a_completion_that_was_cut_inside_its_thought_has_no_content() -> None:
    message = body(thought("chat", cut=True))["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (None, "2 and 2")
    assert parsed(native_line(thought(cut=True)))["completion"] == ""


def test_an_empty_answer_after_a_thought_is_an_answer() -> None:
    completion = Completion(3, "a", "", FinishReason.STOP, Usage(10, 6, 5), endpoint="chat", reasoning="x")
    assert body(completion)["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize(
    ("field", "names"),
    [("reasoning", {"reasoning"}), ("reasoning_content", {"reasoning_content"}), ("both", KEYS), ("none", set())],
)
def test_the_field_of_the_thought_can_be_chosen(field: str, names: set[str]) -> None:
    chosen = ReasoningField(field)
    native = parsed(native_line(thought(), reasoning=chosen))
    message = body(thought("chat"), reasoning=chosen)["choices"][0]["message"]
    for result in (native, message):
        assert KEYS & result.keys() == names
        assert {result[name] for name in names} <= {"2 and 2"}


def test_a_thought_that_the_line_does_not_want_leaves_its_tokens_in_the_usage() -> None:
    message = body(thought("chat", reasoning=None))
    assert KEYS & message["choices"][0]["message"].keys() == set()
    assert message["usage"]["completion_tokens_details"] == {"reasoning_tokens": 5}


def test_a_response_has_the_thought_as_an_item_before_its_message() -> None:
    found = Response.model_validate(body(thought("responses")), strict=True)
    assert [item.type for item in found.output] == ["reasoning", "message"]
    assert found.output_text == "Four."
    assert found.usage is not None
    assert found.usage.output_tokens_details.reasoning_tokens == 5
    assert body(thought("responses"))["output"][0]["content"] == [{"type": "reasoning_text", "text": "2 and 2"}]


def test_a_response_that_was_cut_inside_its_thought_has_no_message() -> None:
    found = body(thought("responses", cut=True))
    Response.model_validate(found, strict=True)
    assert [(item["type"], item["status"]) for item in found["output"]] == [("reasoning", "incomplete")]
    assert body(thought("responses"), reasoning=ReasoningField.NONE)["output"][0]["type"] == "message"
