"""Lines become requests or errors, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import pytest

from engine.stopping.thought import Thinking
from jobs.records.completion import ErrorCode
from jobs.records.constraint import Constraint
from jobs.records.job import NewJob
from jobs.records.line_defaults import LineDefaults
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings, line_seed
from model.text.text_encoder import Encoded
from model.thinking import ThinkingTokens
from tests.worker.fake_tokenizer import VOCAB_SIZE, FakeGrammar, FakeGrammars, FakeTokenizer
from worker.shards.preparation import Preparation, Prepared

CARD = ModelCard(
    name="fake",
    vocab_size=VOCAB_SIZE,
    max_model_len=1_001,
    has_chat_template=True,
    defaults=SamplingSettings(temperature=0.7, top_p=0.8, top_k=20, min_p=0.05),
)


NOTHING_SAID = SamplingSettings()
JOB = NewJob("j", "fake", "native", NOTHING_SAID, seed=5, num_lines=9, shard_size=9, source="f", created_at=0.0)


def prepare(*prompts: Prompt, defaults: SamplingSettings = NOTHING_SAID) -> Prepared:
    job = NewJob("j", "fake", "native", defaults, seed=5, num_lines=9, shard_size=9, source="f", created_at=0.0)
    return Preparation(FakeTokenizer(), CARD, FakeGrammars()).prepare(prompts, job, group="g", on_token=lambda _: None)


def refusal(prompt: Prompt) -> tuple[ErrorCode, str]:
    """The one error of a line, with good neighbours on both sides that must not suffer."""
    before, after = Prompt(0, "before", text="ab"), Prompt(2, "after", text="cd")
    prepared = prepare(before, prompt, after)
    assert [line.id for line, _ in prepared.runnable] == ["before", "after"]
    (refused,) = prepared.refused
    assert (refused.index, refused.id) == (prompt.index, prompt.id)
    assert refused.error is not None
    return refused.error.code, refused.error.message


def test_all_texts_are_tokenised_in_one_call() -> None:
    tokenizer = FakeTokenizer()
    job = NewJob("j", "fake", "native", SamplingSettings(), 5, num_lines=3, shard_size=3, source="f", created_at=0.0)
    prompts = [Prompt(index, str(index), text="abc"[: index + 1]) for index in range(3)]
    prepared = Preparation(tokenizer, CARD, FakeGrammars()).prepare(prompts, job, group="g", on_token=lambda _: None)
    assert [request.token_ids for _, (request,) in prepared.runnable] == [(97,), (97, 98), (97, 98, 99)]
    assert tokenizer.calls == 1


def test_token_ids_are_fed_as_they_are_and_messages_go_through_the_template() -> None:
    prepared = prepare(
        Prompt(0, "a", token_ids=(5, 6, 7)), Prompt(1, "b", messages=({"role": "user", "content": "hi"},))
    )
    assert [request.token_ids for _, (request,) in prepared.runnable] == [(5, 6, 7), tuple(map(ord, "<user>hi"))]


def test_a_line_wins_over_its_job_and_the_job_over_the_model() -> None:
    prepared = prepare(
        Prompt(0, "a", text="ab", settings=SamplingSettings(temperature=0.1, top_p=0.3)),
        defaults=SamplingSettings(temperature=0.5, top_k=0),
    )
    params = prepared.runnable[0][1][0].params
    assert (params.temperature, params.top_p) == (0.1, 0.3)  # the line's, whether its job says something or not
    assert (params.top_k, params.min_p) == (0, 0.05)  # the job's, and the model's where nobody else says anything


def test_a_line_without_a_seed_gets_one_from_its_job_and_its_index() -> None:
    prepared = prepare(Prompt(3, "a", text="ab"), Prompt(4, "b", text="ab", settings=SamplingSettings(seed=11)))
    assert [request.params.seed for _, (request,) in prepared.runnable] == [line_seed(5, 3), 11]


def test_a_completion_may_use_what_the_context_leaves() -> None:
    prepared = prepare(
        Prompt(0, "rest", text="x" * 900),
        Prompt(1, "capped", text="x" * 900, settings=SamplingSettings(max_tokens=500)),
        Prompt(2, "said", text="x" * 900, settings=SamplingSettings(max_tokens=7)),
        Prompt(3, "one", text="x" * 1_000),
    )
    assert [request.params.max_tokens for _, (request,) in prepared.runnable] == [101, 101, 7, 1]


def test_a_prompt_too_long_for_the_model_fails_alone_with_both_numbers() -> None:
    code, message = refusal(Prompt(1, "long", text="x" * 50_001))
    assert code is ErrorCode.PROMPT_TOO_LONG
    assert message == (
        "The prompt has 50,001 tokens; this worker allows at most 1,000. The model, `--max-model-len` or "
        "`--kv-cache-memory` sets this limit."
    )


def test_a_line_found_invalid_at_submission_keeps_its_reason() -> None:
    reason = "`temperature` is -1; it must be from 0 to 10"
    assert refusal(Prompt(1, "bad", invalid=reason)) == (ErrorCode.INVALID_LINE, reason)


@pytest.mark.parametrize("token_id", [-1, VOCAB_SIZE, 2**70])
def test_a_token_id_outside_the_vocabulary_is_refused_by_number(token_id: int) -> None:
    code, message = refusal(Prompt(1, "bad", token_ids=(1, token_id)))
    assert code is ErrorCode.INVALID_LINE
    assert f"token id {token_id}" in message and "1,114,111" in message


def test_an_empty_prompt_is_refused() -> None:
    assert refusal(Prompt(1, "empty", text="")) == (ErrorCode.INVALID_LINE, "The prompt is empty: it has no tokens.")


def test_half_a_character_fails_alone_although_the_texts_are_encoded_together() -> None:
    code, message = refusal(Prompt(1, "surrogate", text="a\ud800b"))
    assert code is ErrorCode.INVALID_LINE
    assert "surrogates not allowed" in message


def test_messages_that_the_template_refuses_fail_alone() -> None:
    code, message = refusal(Prompt(1, "chat", messages=({"role": "user"},)))
    assert code is ErrorCode.INVALID_LINE
    assert "chat template" in message


def test_what_nobody_expected_is_an_internal_error_of_one_line() -> None:
    code, message = refusal(Prompt(1, "chat", messages=({"content": "no role"},)))
    assert (code, message) == (ErrorCode.INTERNAL_ERROR, "KeyError: 'role'")


def test_a_failed_line_keeps_the_endpoint_that_decides_its_shape() -> None:
    prepared = prepare(Prompt(0, "a", text="", endpoint="chat"))
    assert prepared.refused[0].endpoint == "chat"


def opened(is_open: bool) -> Thinking:
    return Thinking(THINKS.start_id, THINKS.end_id, is_open, THINKS.closing_ids)


THINKS = ThinkingTokens(start_id=ord("["), end_id=ord("]"), turn_id=ord("<"), closing_ids=(ord("]"), ord(";")))


def prepare_thinking(text: str, settings: SamplingSettings = NOTHING_SAID, **kwargs: object) -> Prepared:
    """Prepare a conversation whose template puts `text` after the last beginning of a turn."""
    prompt = Prompt(
        0, "a", messages=({"role": "user", "content": text},), chat_template_kwargs=kwargs, settings=settings
    )
    preparation = Preparation(FakeTokenizer(), CARD, FakeGrammars(), THINKS)
    return preparation.prepare([prompt], JOB, group="g", on_token=lambda _: None)


@pytest.mark.parametrize(
    ("text", "thinking"),
    [("[", opened(True)), ("[]", None), ("x", opened(False))],
)
def test_a_request_knows_what_its_prompt_says_about_thinking(text: str, thinking: Thinking | None) -> None:
    ((_, (request,)),) = prepare_thinking(text).runnable
    assert request.thinking == thinking


@pytest.mark.parametrize(("support", "may_think"), [("switch", True), ("never", False)])
def test_a_constraint_invites_only_models_that_think_to_begin_a_thought(support: Any, may_think: bool) -> None:
    card = msgspec.structs.replace(CARD, thinking=support)
    prompt = Prompt(0, "a", messages=({"role": "user", "content": "x"},), constraint=Constraint("regex", "a+"))
    preparation = Preparation(FakeTokenizer(), card, FakeGrammars(), THINKS)
    ((_, (request,)),) = preparation.prepare([prompt], JOB, group="g", on_token=print).runnable
    assert request.grammar is not None
    assert (request.thinking is not None) == may_think


def test_a_job_constrains_the_lines_that_do_not_say_it() -> None:
    job = msgspec.structs.replace(JOB, line_defaults=LineDefaults(constraint=Constraint("regex", "of the job")))
    own, free = Constraint("regex", "of the line"), Constraint("text")
    prompts = [Prompt(0, "a", text="x"), Prompt(1, "b", text="x", constraint=own)]
    prompts.append(Prompt(2, "c", text="x", constraint=free))
    prepared = Preparation(FakeTokenizer(), CARD, FakeGrammars()).prepare(prompts, job, group="g", on_token=print)
    grammars = [request.grammar for _, (request,) in prepared.runnable]
    assert [isinstance(each, FakeGrammar) and each.text.partition("/")[2] for each in grammars] == [
        'of the job/"}]}',
        'of the line/"}]}',
        False,
    ]


@pytest.mark.parametrize(("tools", "rule"), [("hermes", "arguments_0: %json"), ("xml", "<function=f>")])
def test_strict_tools_constrain_calls_in_the_format_of_the_model(tools: Any, rule: str) -> None:
    strict = {"type": "function", "function": {"name": "f", "strict": True}}
    prompt = Prompt(0, "a", messages=({"role": "user", "content": "x"},), tools=(strict,))
    own = msgspec.structs.replace(prompt, constraint=Constraint("regex", "own"))
    free = msgspec.structs.replace(prompt, tools=({"type": "function", "function": {"name": "f"}},))
    preparation = Preparation(FakeTokenizer(), msgspec.structs.replace(CARD, tools=tools), FakeGrammars())
    prepared = preparation.prepare([prompt, own, free], JOB, group="g", on_token=print)
    request, request_of_own, request_of_free = (request for _, (request,) in prepared.runnable)
    assert isinstance(request.grammar, FakeGrammar) and "start: text (call text)*" in request.grammar.text
    assert rule in request.grammar.text
    assert isinstance(request_of_own.grammar, FakeGrammar) and "own" in request_of_own.grammar.text
    assert request_of_free.grammar is None


def test_a_strict_tool_that_the_models_format_cannot_enforce_fails_its_line() -> None:
    function = {"name": "f", "strict": True, "parameters": {"type": "object", "minProperties": 1}}
    prompt = Prompt(0, "a", messages=({"role": "user", "content": "x"},), tools=({"function": function},))
    card = msgspec.structs.replace(CARD, tools="xml")
    prepared = Preparation(FakeTokenizer(), card, FakeGrammars()).prepare([prompt], JOB, group="g", on_token=print)
    (refused,) = prepared.refused
    assert refused.error is not None and refused.error.code is ErrorCode.INVALID_LINE
    assert refused.error.message.startswith("a schema of `tools` cannot be used: it has `minProperties`, which cannot")


def test_a_constraint_that_cannot_be_used_fails_its_line() -> None:
    code, message = refusal(Prompt(1, "bad", text="x", constraint=Constraint("regex", "unusable")))
    assert (code, message) == (ErrorCode.INVALID_LINE, "The constraint cannot be used: the grammar is too large.")
    said = SamplingSettings(min_tokens=3)
    code, message = refusal(Prompt(1, "bad", text="x", constraint=Constraint("regex", "a"), settings=said))
    assert code is ErrorCode.INVALID_LINE
    assert message.startswith("`min_tokens` is 3; it cannot be used with a schema")


def test_a_raw_prompt_does_not_think() -> None:
    preparation = Preparation(FakeTokenizer(), CARD, FakeGrammars(), THINKS)
    ((_, (request,)),) = preparation.prepare([Prompt(0, "a", text="[")], JOB, group="g", on_token=print).runnable
    assert request.thinking is None


@pytest.mark.parametrize(("text", "switch"), [("[", False), ("[]", True)])
def test_a_switch_that_the_template_ignores_fails_the_line(text: str, switch: bool) -> None:
    (refused,) = prepare_thinking(text, enable_thinking=switch).refused
    assert refused.error is not None
    assert refused.error.code is ErrorCode.INVALID_LINE
    assert "the model's chat template ignores it" in refused.error.message


@pytest.mark.parametrize(("most", "runs"), [(12, False), (13, True)])
def test_max_tokens_must_exceed_the_budget_and_the_closing_sentence(most: int, runs: bool) -> None:
    settings = SamplingSettings(max_tokens=most, thinking_token_budget=10)
    prepared = prepare_thinking("[", settings)
    assert (len(prepared.runnable), len(prepared.refused)) == (runs, not runs)
    assert len(prepare_thinking("[]", settings).runnable) == 1  # the line does not think


def test_a_jobs_switch_reaches_the_template() -> None:
    job = msgspec.structs.replace(JOB, line_defaults=LineDefaults(thinking=False))
    prompt = Prompt(0, "a", messages=({"role": "user", "content": "["},))
    (refused,) = (
        Preparation(FakeTokenizer(), CARD, FakeGrammars(), THINKS)
        .prepare([prompt], job, group="g", on_token=print)
        .refused
    )
    assert refused.error is not None and "`enable_thinking` is false" in refused.error.message


@pytest.mark.parametrize(
    ("count", "side", "kept"),
    [(3, "left", "cde"), (3, "right", "abc"), (5, "left", "abcde"), (9, "right", "abcde"), (-1, "left", "abcde")],
)
def test_a_prompt_is_cut_to_the_length_that_its_line_asks_for(
    count: int, side: Literal["left", "right"], kept: str
) -> None:
    said: dict[str, Any] = {"truncate_prompt_tokens": count, "truncation_side": side}
    text, ids = Prompt(0, "a", text="abcde", **said), Prompt(1, "b", token_ids=tuple(map(ord, "abcde")), **said)
    prepared = prepare(text, ids)
    assert [request.token_ids for _, (request,) in prepared.runnable] == [tuple(map(ord, kept))] * 2


def test_a_prompt_that_is_too_long_is_cut_to_what_fits_beside_its_completion() -> None:
    settings = SamplingSettings(max_tokens=100)
    long = Prompt(0, "a", text="y" + "x" * 5_000, truncate_prompt_tokens=-1, settings=settings)
    ((_, (request,)),) = prepare(long).runnable
    assert len(request.token_ids) == CARD.max_model_len - 100
    assert request.params.max_tokens == 100
    code, _ = refusal(Prompt(1, "a", text="x" * 5_000, truncate_prompt_tokens=1_001))
    assert code is ErrorCode.PROMPT_TOO_LONG


def test_bad_words_are_barred_with_and_without_a_space_before_them() -> None:
    """A word after a space is another sequence only if it is as long and begins with another token."""
    tokenizer = SpacedTokenizer({"bad": [1], " bad": [2], "two": [3, 4], " two": [5, 6, 7], "same": [8], " same": [8]})
    prompt = Prompt(0, "a", token_ids=(1,), settings=SamplingSettings(bad_words=("bad", " two", "same")))
    ((_, (request,)),) = (
        Preparation(tokenizer, CARD, FakeGrammars()).prepare([prompt], JOB, group="g", on_token=print).runnable
    )
    assert request.barred_sequences == ((1,), (2,), (3, 4), (8,))


class SpacedTokenizer(FakeTokenizer):
    """Its words are in a table."""

    def __init__(self, table: dict[str, list[int]]) -> None:
        super().__init__()
        self._table = table

    def encode_batch(self, texts: Iterable[str], max_tokens: int) -> list[Encoded]:
        return [self._table[text] for text in texts]
