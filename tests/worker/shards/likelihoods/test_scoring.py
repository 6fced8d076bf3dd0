"""Scores of a line with choices: what the engine scores, and the result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engine.request import Request as EngineRequest
from engine.request import RequestOutput, Scoring, Ticket, TokenScore
from jobs.records.job import NewJob
from jobs.records.line_defaults import LineDefaults
from jobs.records.model_card import ModelCard
from jobs.records.prompt import LabelWish, Prompt
from jobs.records.sampling import NOTHING_SAID, FinishReason, SamplingSettings
from model.grammar import Grammars
from model.text.tokenizer import Tokenizer
from worker.shards.in_flight import Line
from worker.shards.likelihoods.scoring import scored_prompts
from worker.shards.line_result import completion_of
from worker.shards.preparation import Preparation, Prepared

DEMO = Path(__file__).resolve().parents[4] / "model" / "demo"
CHAT = ({"role": "user", "content": "Good or bad?"},)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(DEMO)


def choices_of(tokenizer: Tokenizer, prompt: Prompt) -> dict[str, tuple[str, str]]:
    """The text before each choice and its own, as the engine gets them."""
    ids = tuple(tokenizer.encode(prompt.text or ""))
    found = {}
    for each in scored_prompts(prompt, ids, tokenizer, 500):
        for place, number in enumerate(each.scoring.choices):
            labels = len(each.scoring.choices) > 1
            own = (each.scoring.ids[0][place],) if labels else tuple(token for (token, *_) in each.scoring.ids)
            found[prompt.score[number]] = tokenizer.decode(each.token_ids), tokenizer.decode(own)
    return found


def test_a_choice_is_what_follows_the_prompt_with_the_white_space_between_them(tokenizer: Tokenizer) -> None:
    assert choices_of(tokenizer, Prompt(0, "a", "2 + 3 =", score=(" 5", " six"))) == {
        " 5": ("2 + 3 =", " 5"),
        " six": ("2 + 3 =", " six"),
    }
    assert choices_of(tokenizer, Prompt(0, "a", "2 + 3 = ", score=("5", "six"))) == {
        "5": ("2 + 3 =", " 5"),
        "six": ("2 + 3 =", " six"),
    }


def test_choices_of_one_token_share_a_request_and_each_longer_one_has_its_own(tokenizer: Tokenizer) -> None:
    prompt = Prompt(0, "a", messages=CHAT, score=("5", "a rather long choice", "6", "another rather long one"))
    found = scored_prompts(prompt, (1, 2, 3), tokenizer, 500)
    assert sorted(each.scoring.choices for each in found) == [(0, 2), (1,), (3,)]
    [labels] = [each for each in found if len(each.scoring.choices) == 2]
    assert labels.scoring.ids == ((tokenizer.encode("5")[0], tokenizer.encode("6")[0]),)
    assert {each.token_ids for each in found} == {(1, 2, 3)}
    for each in found:
        assert (each.params.max_tokens, each.params.greedy) == (len(each.scoring.ids), True)


def completed(prompt: Prompt, *scorings: tuple[Scoring, tuple[TokenScore, ...]]) -> Any:
    tickets = []
    for scoring, scores in scorings:
        params = scored_params(scoring)
        ticket = Ticket(EngineRequest((1, 2), params, scoring=scoring))
        ids = tuple(token for token, *_ in scoring.ids)
        ticket.future.set_result(RequestOutput(ids, "", FinishReason.LENGTH, 2, 1.0, 1.2, 1.5, 2.0, scores=scores))
        tickets.append(ticket)
    return completion_of(Line(prompt, tuple(tickets), 0))


def scored_params(scoring: Scoring) -> Any:
    from worker.shards.likelihoods.scoring import ScoredPrompt

    return ScoredPrompt((1, 2), scoring).params


def test_a_result_has_the_sums_of_its_choices_and_their_shares_in_the_lines_order() -> None:
    prompt = Prompt(3, "a", "x", score=("one", "two tokens", "other"))
    found = completed(
        prompt,
        (Scoring(((7,), (8,)), (1,)), (TokenScore(-1.0, True), TokenScore(-0.5, False))),
        (Scoring(((5, 6),), (0, 2)), (TokenScore(-1.25, True), TokenScore(-3.0, False))),
    )
    assert [(each.choice, each.logprob, each.num_tokens, each.is_greedy) for each in found.scores] == [
        ("one", -1.25, 1, True),
        ("two tokens", -1.5, 2, False),
        ("other", -3.0, 1, False),
    ]
    total = math.exp(-1.25) + math.exp(-1.5) + math.exp(-3)
    assert [each.prob for each in found.scores] == pytest.approx(
        [math.exp(-1.25) / total, math.exp(-1.5) / total, math.exp(-3) / total]
    )
    assert (found.text, found.finish_reason, found.index) == ("one", FinishReason.STOP, 3)
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (2, 4)


def test_of_equally_likely_choices_the_first_is_the_best() -> None:
    scores = (TokenScore(-2.0, False), TokenScore(-2.0, False))
    assert completed(Prompt(0, "a", "x", score=("b", "a")), (Scoring(((5, 6),), (0, 1)), scores)).text == "b"


def test_choices_that_are_impossible_still_have_shares() -> None:
    scores = (TokenScore(-9999.0, False), TokenScore(-9999.0, False))
    found = completed(Prompt(0, "a", "x", score=("b", "a")), (Scoring(((5, 6),), (0, 1)), scores))
    assert [each.prob for each in found.scores] == [0.5, 0.5]


@pytest.fixture(scope="module")
def prepared(tokenizer: Tokenizer) -> Any:
    """Prepares one line of a job with these options for the demo model, whose thinking may be set."""
    card = ModelCard("demo", 1280, 500, True, thinking="switch")

    def prepare(line: Prompt, card: ModelCard = card, **job: Any) -> Prepared:
        preparation = Preparation(tokenizer, card, Grammars(tokenizer, (), 1280))
        spec = NewJob("j", "demo", "native", NOTHING_SAID, 0, 1, 1, "x", 0.0, **job)
        return preparation.prepare([line], spec, group="g", on_token=lambda _: None)

    return prepare


def test_a_jobs_choices_are_for_lines_without_their_own(prepared: Any) -> None:
    defaults = LineDefaults(score=("5", "6"))
    [(line, requests)] = prepared(Prompt(0, "a", "2 + 3 ="), line_defaults=defaults).runnable
    assert (line.score, [request.scoring.choices for request in requests]) == (("5", "6"), [(0, 1)])
    [(own, _)] = prepared(Prompt(0, "a", "2 + 3 =", score=("7",)), line_defaults=defaults).runnable
    assert own.score == ("7",)


def test_a_conversation_is_scored_without_a_thought(prepared: Any) -> None:
    [(line, _)] = prepared(Prompt(0, "a", messages=CHAT, score=("5",))).runnable
    assert line.chat_template_kwargs == {"enable_thinking": False}
    always = ModelCard("deep", 1280, 500, True, thinking="always")
    [refused] = prepared(Prompt(0, "a", messages=CHAT, score=("5",)), card=always).refused
    assert "deep always thinks" in refused.error.message
    assert prepared(Prompt(0, "a", "x", score=("5",)), card=always).runnable


@pytest.mark.parametrize("wish", [{"n": 2}, {"logprobs": 0}, {"endpoint": "chat"}])
def test_a_line_that_wants_more_than_its_jobs_choices_fails_alone(prepared: Any, wish: dict[str, Any]) -> None:
    line = Prompt(0, "a", messages=CHAT, settings=SamplingSettings(temperature=0.5), **wish)
    [refused] = prepared(line, line_defaults=LineDefaults(score=("5", "6"))).refused
    assert "scores" in refused.error.message


def test_each_prompt_with_labels_is_one_request_and_has_the_labels_probabilities(prepared: Any) -> None:
    for softmax in (False, True):
        wish = LabelWish((5, 6), softmax)
        [(line, requests)] = prepared(
            Prompt(0, "a", "x", more_prompts=("y z",), endpoint="score", labels=wish)
        ).runnable
        assert [request.scoring.ids for request in requests] == [((5, 6),)] * 2
        scores = (TokenScore(math.log(0.3), True), TokenScore(math.log(0.1), False))
        found = completed(line, *((request.scoring, scores) for request in requests))
        expected = (0.75, 0.25) if softmax else (0.3, 0.1)
        assert [list(probs) for probs in found.label_probs] == [pytest.approx(expected)] * 2
        assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (4, 0)
