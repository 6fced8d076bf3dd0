"""Constrained completions keep to their grammar, whoever writes them: here a random model at a high temperature."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from engine.load import LoadedEngine
from engine.request import ConstraintFailed, Request, RequestOutput
from jobs.constraints import requested
from jobs.constraints.checker import ConstraintChecker
from jobs.constraints.grammar import grammar_of
from jobs.files.formats.fields import Notes
from jobs.records.constraint import Constraint
from jobs.records.sampling import FinishReason, SamplingParams
from model.grammar import Grammars
from tests.engine.schemas import SCHEMAS, Schema, closed, random_schema
from tests.engine.test_tiny_model import requests

LoadTiny = Callable[..., LoadedEngine]

REGEXES = (r"[0-9]{3}-[a-z]{2}", r"(a|b)+c?", r"\d{1,3}(\.\d{1,3}){3}", r"a/b|\\n", r"é{2}", r"^x*$", r".{4}", r"\s?\w")
CHOICES = (["yes", "no"], ["a", "ab", "abc"], ["é", '"quoted"', "two\nlines", "/"], [" leading", "trailing "])
BALANCED = 'start: "(" start ")" | "x"'


def schema(said: Schema, *, strict: bool = False) -> Constraint:
    return Constraint("json", json.dumps(said), strict)


@pytest.fixture(scope="module")
def grammars(load_tiny: LoadTiny) -> Grammars:
    loaded = load_tiny()
    return Grammars(loaded.tokenizer, loaded.eos_token_ids)


def constrained(
    grammars: Grammars, constraints: Iterable[Constraint], count: int = 3, **settings: Any
) -> list[tuple[Constraint, Request]]:
    """Several requests per constraint, with seeds and prompts of their own."""
    hot = {"max_tokens": 160, "temperature": 2.0} | settings
    return [
        (constraint, Request((7, 9, number), SamplingParams(seed=number, **hot), grammar=grammar))
        for constraint in constraints
        for grammar in [grammars.compiled(grammar_of(constraint))]
        for number in range(count)
    ]


def run(loaded: LoadedEngine, batch: Iterable[Request]) -> list[RequestOutput]:
    return [ticket.future.result(120) for ticket in loaded.engine.submit_many(batch)]


def completed(loaded: LoadedEngine, pairs: list[tuple[Constraint, Request]]) -> list[tuple[Constraint, str]]:
    """The texts that ended by themselves. All others ended only because of `max_tokens`."""
    outputs = run(loaded, [request for _, request in pairs])
    assert {output.finish_reason for output in outputs} <= {FinishReason.STOP, FinishReason.LENGTH}
    for (_, request), output in zip(pairs, outputs, strict=True):
        if output.finish_reason is FinishReason.LENGTH:
            assert len(output.token_ids) == request.params.max_tokens
    done = zip(pairs, outputs, strict=True)
    return [(constraint, output.text) for (constraint, _), output in done if output.finish_reason is FinishReason.STOP]


def assert_valid(texts: Iterable[tuple[Constraint, str]]) -> None:
    for constraint, text in texts:
        said = json.loads(constraint.text)
        checker = jsonschema.Draft202012Validator(said, format_checker=jsonschema.FormatChecker())
        checker.validate(json.loads(text))


def test_every_completion_that_ends_is_valid_for_its_schema(load_tiny: LoadTiny, grammars: Grammars) -> None:
    pairs = constrained(grammars, map(schema, SCHEMAS))
    texts = completed(load_tiny(), pairs)
    assert len(SCHEMAS) >= 50 and len(texts) > 0.8 * len(pairs)
    assert_valid(texts)


def test_greedy_completions_are_valid_too(load_tiny: LoadTiny, grammars: Grammars) -> None:
    texts = completed(load_tiny(), constrained(grammars, map(schema, SCHEMAS), count=1, temperature=0))
    assert len(texts) > 20
    assert_valid(texts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_completions_are_valid_for_random_schemas(load_tiny: LoadTiny, grammars: Grammars, seed: int) -> None:
    rng = random.Random(seed)
    pairs = constrained(grammars, [schema(random_schema(rng)) for _ in range(100)], count=5)
    texts = completed(load_tiny(), pairs)
    assert len(texts) > 0.8 * len(pairs)
    assert_valid(texts)


def test_every_schema_here_can_be_enforced_completely() -> None:
    rng = random.Random(0)
    notes = Notes()
    for said in [*SCHEMAS, *(random_schema(rng) for _ in range(100))]:
        ConstraintChecker(notes).checked(schema(said, strict=True))
    assert not notes.unenforced


def test_completions_match_their_regex_as_a_whole(load_tiny: LoadTiny, grammars: Grammars) -> None:
    pairs = constrained(grammars, [requested.regex("regex", pattern) for pattern in REGEXES])
    texts = completed(load_tiny(), pairs)
    assert {constraint.text for constraint, _ in texts} == set(REGEXES)
    for constraint, text in texts:
        assert re.fullmatch(constraint.text, text), (constraint.text, text)


def test_completions_are_one_of_the_choices_and_every_choice_can_come(load_tiny: LoadTiny, grammars: Grammars) -> None:
    constraints = [requested.choice("choice", choices) for choices in CHOICES]
    texts = completed(load_tiny(), constrained(grammars, constraints, count=40, temperature=5.0))
    assert len(texts) == 40 * len(CHOICES)
    for constraint in constraints:
        assert {text for other, text in texts if other == constraint} == set(json.loads(constraint.text))


def test_completions_follow_their_grammar(load_tiny: LoadTiny, grammars: Grammars) -> None:
    texts = completed(load_tiny(), constrained(grammars, [Constraint("grammar", BALANCED)], count=20, temperature=9.0))
    depths = Counter(text.count("(") for _, text in texts)
    assert len(depths) > 1
    assert all(text == "(" * depth + "x" + ")" * depth for _, text in texts for depth in [text.count("(")])


def test_white_space_between_the_parts_of_json_is_bounded(load_tiny: LoadTiny, grammars: Grammars) -> None:
    said = closed(a={"type": "null"}, b={"type": "null"})
    texts = completed(load_tiny(), constrained(grammars, [schema(said)], count=30, temperature=9.0))
    assert len(texts) == 30
    gaps = {gap for _, text in texts for gap in re.findall(r"\s+", text)}
    assert len(gaps) > 3 and all(re.fullmatch(r"\n {0,24}| ", gap) for gap in gaps)


def test_the_authors_white_space_replaces_ours(load_tiny: LoadTiny, grammars: Grammars) -> None:
    compact = requested.with_whitespace(schema(closed(a={"type": "null"}, b={"const": 1})), "")
    texts = completed(load_tiny(), constrained(grammars, [compact], count=3))
    assert {text for _, text in texts} == {'{"a":null,"b":1}'}


def test_a_text_that_can_only_end_needs_no_eos_token(load_tiny: LoadTiny, grammars: Grammars) -> None:
    loaded = load_tiny()
    ((_, request),) = constrained(grammars, [requested.choice("choice", ["abc"])], count=1)
    (output,) = run(loaded, [request])
    assert (output.text, output.token_ids) == ("abc", tuple(loaded.tokenizer.encode("abc")))
    assert output.finish_reason is FinishReason.STOP
    (cut,) = run(loaded, [replace(request, params=replace(request.params, max_tokens=2))])
    assert (cut.text, cut.finish_reason) == ("ab", FinishReason.LENGTH)
    (exact,) = run(loaded, [replace(request, params=replace(request.params, max_tokens=3))])
    assert exact.finish_reason is FinishReason.STOP


def test_filters_and_penalties_apply_to_the_tokens_that_are_allowed(load_tiny: LoadTiny, grammars: Grammars) -> None:
    loaded = load_tiny()
    settings: list[dict[str, Any]] = [{"top_k": 1}, {"top_p": 0.01}, {"min_p": 1.0}, {"repetition_penalty": 9.0}]
    for said in settings:
        texts = completed(loaded, constrained(grammars, map(schema, SCHEMAS[:8]), count=1, **said))
        assert texts
        assert_valid(texts)


def test_a_constrained_line_gives_its_ids_whatever_runs_beside_it(load_tiny: LoadTiny, grammars: Grammars) -> None:
    mine = [request for _, request in constrained(grammars, map(schema, SCHEMAS[23:29]), count=1)]
    loaded = load_tiny()
    alone = [run(loaded, [request])[0].token_ids for request in mine]
    assert [output.token_ids for output in run(loaded, mine)] == alone
    mixed = run(loaded, [*requests(20), *mine, *requests(20)])
    assert [output.token_ids for output in mixed[8 : 8 + len(mine)]] == alone
    assert [output.token_ids for output in mixed[:8]] == [output.token_ids for output in run(loaded, requests(20))]


def test_a_pre_empted_constrained_line_gives_its_ids(load_tiny: LoadTiny, grammars: Grammars) -> None:
    digits = [
        Request(request.token_ids, replace(request.params, ignore_eos=False), grammar=grammar)
        for grammar in [grammars.compiled(grammar_of(requested.regex("regex", "[0-9]{90}")))]
        for request in requests(90)
    ]
    expected = [output.token_ids for output in run(load_tiny(), digits)]
    tight = load_tiny(num_pages=9, max_model_len=256)
    tight.engine.take_group_stats("")
    assert [output.token_ids for output in run(tight, digits)] == expected
    stats = tight.engine.take_group_stats("")
    assert stats.decode_tokens > stats.output_tokens, "no token was replayed, so nothing was pre-empted"


def test_a_grammar_that_is_too_complex_fails_its_line_alone(load_tiny: LoadTiny) -> None:
    loaded = load_tiny()
    small = Grammars(loaded.tokenizer, loaded.eos_token_ids, max_lexer_states=100)
    pairs = constrained(small, [requested.regex("regex", ".*a.{24}b")], count=1)
    bad, *good = loaded.engine.submit_many([pairs[0][1], *requests(30)])
    with pytest.raises(ConstraintFailed, match="left its grammar"):
        bad.future.result(120)
    expected = [output.token_ids for output in run(loaded, requests(30))]
    assert [ticket.future.result(120).token_ids for ticket in good] == expected
    assert loaded.engine.utilization().kv_cache_usage == 0
