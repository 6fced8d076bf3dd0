"""A model may think freely before a constrained answer, however its template treats thinking."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from engine.load import LoadedEngine
from engine.request import Request, RequestOutput
from engine.stopping.thought import Thinking
from jobs.constraints import requested
from jobs.constraints.grammar import grammar_of
from jobs.records.sampling import FinishReason, SamplingParams
from model.grammar import Grammars
from testing.models.byte_level_tokenizer import END_OF_TEXT
from tests.engine.schemas import closed

LoadTiny = Callable[..., LoadedEngine]
START, END = 251, 250  # stand for the tags: ids that no text of JSON here has
SCHEMA = closed(reason={"type": "string", "maxLength": 8}, label={"enum": ["good", "bad"]})
OPENS, OPENS_NOT = ((START, 100.0),), ((START, -100.0),)


class Lines:
    """Constrained requests of a tiny model."""

    def __init__(self, loaded: LoadedEngine) -> None:
        self.loaded = loaded
        grammars = Grammars(loaded.tokenizer, loaded.eos_token_ids)
        self.grammar = grammars.compiled(grammar_of(requested.json("schema", SCHEMA)))
        self.newline = loaded.tokenizer.encode("\n")[0]
        self.closing = (*loaded.tokenizer.encode("\nok\n"), END, self.newline, self.newline)

    def requests(self, is_open: bool | None, count: int = 5, **settings: Any) -> list[Request]:
        """Requests at a high temperature. None for `is_open` is a model that does not think."""
        thinking = None if is_open is None else Thinking(START, END, is_open, self.closing)
        hot: dict[str, Any] = {"max_tokens": 250, "temperature": 2.0, "thinking_token_budget": 20} | settings
        return [
            Request((7, 9, seed), SamplingParams(seed=seed, **hot), thinking=thinking, grammar=self.grammar)
            for seed in range(count)
        ]

    def run(self, batch: list[Request]) -> list[RequestOutput]:
        return [ticket.future.result(120) for ticket in self.loaded.engine.submit_many(batch)]


@pytest.fixture(scope="module")
def lines(load_tiny: LoadTiny) -> Lines:
    return Lines(load_tiny())


def assert_answers(outputs: list[RequestOutput], *, thought: bool) -> None:
    for output in outputs:
        assert output.finish_reason is FinishReason.STOP
        assert (output.reasoning is not None) == thought
        jsonschema.validate(json.loads(output.text), SCHEMA)


def test_a_thought_that_the_prompt_opened_is_free_and_the_answer_is_not(lines: Lines) -> None:
    outputs = lines.run(lines.requests(is_open=True))
    assert_answers(outputs, thought=True)
    assert len({output.reasoning for output in outputs}) == len(outputs)
    assert any(output.num_reasoning_tokens >= 20 for output in outputs)


def test_a_hybrid_model_may_open_a_thought_with_its_first_token(lines: Lines) -> None:
    outputs = lines.run(lines.requests(is_open=False, logit_bias=OPENS))
    assert {output.token_ids[0] for output in outputs} == {START}
    assert_answers(outputs, thought=True)


def test_a_hybrid_model_that_opens_no_thought_answers_at_once(lines: Lines) -> None:
    outputs = lines.run(lines.requests(is_open=False, logit_bias=OPENS_NOT))
    assert {output.text[0] for output in outputs} == {"{"}
    assert_answers(outputs, thought=False)


def test_a_model_that_does_not_think_answers_at_once(lines: Lines) -> None:
    outputs = lines.run(lines.requests(is_open=None, logit_bias=OPENS))
    assert {output.text[0] for output in outputs} == {"{"}
    assert_answers(outputs, thought=False)


def test_no_thought_ends_the_completion_before_its_answer(lines: Lines) -> None:
    eager = ((END_OF_TEXT, 50.0), (END, -100.0))
    outputs = lines.run(lines.requests(is_open=True, logit_bias=eager))
    assert_answers(outputs, thought=True)
    assert not any(END_OF_TEXT in output.token_ids for output in outputs)


def test_up_to_two_newlines_may_stand_before_the_answer(lines: Lines) -> None:
    eager = ((END, 60.0), (lines.newline, 20.0), (START, -100.0))
    outputs = lines.run(lines.requests(is_open=True, logit_bias=eager, thinking_token_budget=None))
    assert_answers(outputs, thought=True)
    for output in outputs:
        answer = output.token_ids[output.num_reasoning_tokens :]
        assert (answer[:2], lines.loaded.tokenizer.decode([answer[2]])) == ((lines.newline, lines.newline), "{")


def test_a_cut_thought_has_no_answer(lines: Lines) -> None:
    (output,) = lines.run(lines.requests(is_open=True, count=1, max_tokens=15, thinking_token_budget=None))
    assert (output.finish_reason, output.text) == (FinishReason.LENGTH, "")
    assert output.reasoning


def test_a_constrained_answer_is_the_same_alone_among_neighbours_and_pre_empted(
    lines: Lines, load_tiny: LoadTiny
) -> None:
    batch = [replace(each, token_ids=each.token_ids * 20) for each in lines.requests(is_open=True)]
    alone = [lines.run([request])[0].token_ids for request in batch[:2]]
    together = [output.token_ids for output in lines.run(batch)]
    assert together[:2] == alone
    tight = load_tiny(num_pages=9, max_model_len=320)
    tight.engine.take_group_stats("")
    tickets = tight.engine.submit_many(batch)
    assert [ticket.future.result(120).token_ids for ticket in tickets] == together
    stats = tight.engine.take_group_stats("")
    assert stats.decode_tokens > stats.output_tokens, "no token was replayed, so nothing was pre-empted"
