"""What the outputs of a line's requests become."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.request import AnswerLogprobs, Request, RequestOutput, Ticket, TokenLogprobs
from engine.stopping.output_constraint import Grammar, Matcher
from jobs.files.results.parts.logprobs import token_objects
from jobs.records.completion import Choice, Completion, ToolCall
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingParams
from model.text.tokenizer import Tokenizer
from model.text.tool_calls import ToolCallParser
from worker.shards.in_flight import Line
from worker.shards.line_result import completion_of

DEMO = Path(__file__).resolve().parents[3] / "model" / "demo"
TOOLS: tuple[dict[str, Any], ...] = ({"type": "function", "function": {"name": "f"}},)
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
CHAT = Prompt(0, "a", messages=({"role": "user", "content": "Hi"},), tools=TOOLS)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(DEMO)


class SomeGrammar:
    """What a request is bound to. Nothing is generated here, so nothing asks it."""

    newlines: Mapping[int, int] = {}

    def matcher(self) -> Matcher:
        raise NotImplementedError


def made(
    tokenizer: Tokenizer, prompt: Prompt, *texts: str, grammar: Grammar | None = None, **output: Any
) -> Completion:
    """The result of a line whose requests gave these texts, each with a token that ended it."""
    tickets = []
    for text in texts:
        ids = (*tokenizer.encode(text), 1275)
        said: dict[str, Any] = {"finish_reason": FinishReason.STOP, "text": text, "token_ids": ids, **output}
        ticket = Ticket(Request((1,), SamplingParams(max_tokens=500), grammar=grammar))
        said |= {"arrived_at": 1.0, "admitted_at": 1.2, "first_token_at": 1.5, "finished_at": 2.0}
        ticket.future.set_result(RequestOutput(num_prompt_tokens=1, **said))
        tickets.append(ticket)
    completion = completion_of(Line(prompt, tuple(tickets), 0), ToolCallParser.of(tokenizer, "hermes"))
    assert completion is not None
    return completion


def test_an_answer_with_a_call_ends_by_tool_calls(tokenizer: Tokenizer) -> None:
    completion = made(tokenizer, CHAT, f"So:\n{CALL}")
    assert (completion.text, completion.finish_reason) == ("So:", FinishReason.TOOL_CALLS)
    assert completion.tool_calls == (ToolCall("f", '{"a": 1}'),)
    assert completion.amounts() == {}


def test_an_answer_with_a_call_that_was_cut_ends_by_length(tokenizer: Tokenizer) -> None:
    completion = made(tokenizer, CHAT, f"{CALL}\n{CALL[:20]}", finish_reason=FinishReason.LENGTH)
    assert completion.finish_reason is FinishReason.LENGTH
    assert len(completion.tool_calls) == 1
    assert completion.text == f"\n{CALL[:20]}"
    assert completion.amounts() == {"malformed_tool_calls": 1}


def test_calls_are_looked_for_only_if_the_line_has_tools_and_wants_calls(tokenizer: Tokenizer) -> None:
    messages: Any = CHAT.messages
    for prompt in (
        Prompt(0, "a", messages=messages),
        Prompt(0, "a", messages=messages, tools=TOOLS, tool_choice="none"),
    ):
        completion = made(tokenizer, prompt, CALL)
        assert (completion.text, completion.tool_calls) == (CALL, ())
        assert completion.finish_reason is FinishReason.STOP


def test_a_call_inside_a_thought_is_a_part_of_the_thought(tokenizer: Tokenizer) -> None:
    thought = f"<think>\n{CALL}\n</think>"
    ids = (*tokenizer.encode(f"{thought}\n\n{CALL}"), 1275)
    num_reasoning = len(tokenizer.encode(thought))
    completion = made(tokenizer, CHAT, CALL, token_ids=ids, reasoning=CALL, num_reasoning_tokens=num_reasoning)
    assert (completion.text, completion.reasoning, len(completion.tool_calls)) == ("", CALL, 1)


def test_malformed_calls_of_all_completions_are_summed(tokenizer: Tokenizer) -> None:
    several = Prompt(0, "a", messages=CHAT.messages, tools=TOOLS, n=2)
    bad = "<tool_call>\nbroken\n</tool_call>"
    completion = made(tokenizer, several, bad, f"{bad}\n{bad}")
    assert [choice.text for choice in completion.choices] == [bad, f"{bad}\n{bad}"]
    assert completion.malformed_tool_calls == 3
    assert made(tokenizer, several, bad).malformed_tool_calls == 2  # computed once, given twice


@pytest.mark.parametrize("grammar", [None, SomeGrammar()])
@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.LENGTH])
def test_completions_that_reach_max_tokens_inside_their_grammar_are_counted(
    tokenizer: Tokenizer, grammar: Grammar | None, reason: FinishReason
) -> None:
    twice = Prompt(0, "a", text="Hi", n=2)
    is_cut = grammar is not None and reason is FinishReason.LENGTH
    completion = made(tokenizer, twice, '{"a": ', grammar=grammar, finish_reason=reason)
    assert completion.cut_structured_outputs == 2 * is_cut  # computed once, given twice
    assert completion.amounts() == ({"cut_structured_outputs": 2} if is_cut else {})


def answer_logprobs(tokenizer: Tokenizer, text: str) -> AnswerLogprobs:
    ids = tuple(tokenizer.encode(text))
    places = tuple(TokenLogprobs(-float(place), b"", b"") for place in range(len(ids)))
    return AnswerLogprobs(ids, places, {token_id: tokenizer.token_bytes(token_id) for token_id in ids}, False)


def objects_of(choice: Choice) -> list[dict[str, Any]]:
    assert choice.logprobs is not None
    return token_objects(choice.logprobs)


def test_log_probabilities_end_before_the_first_call(tokenizer: Tokenizer) -> None:
    said: dict[str, Any] = {"logprobs": answer_logprobs(tokenizer, f"So:\n{CALL}")}
    [called] = made(tokenizer, CHAT, f"So:\n{CALL}", **said).choices
    [plain] = made(tokenizer, Prompt(0, "a", messages=CHAT.messages), f"So:\n{CALL}", **said).choices
    shown = [(each["token"], each["logprob"]) for each in objects_of(called)]
    assert "".join(token for token, _ in shown) == "So:\n"
    assert [value for _, value in shown] == [-float(place) for place in range(len(shown))]
    assert "".join(each["token"] for each in objects_of(plain)) == f"So:\n{CALL}"
