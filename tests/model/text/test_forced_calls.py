"""A grammar of forced calls gives whole calls of the tools, whatever a model would like to say."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from msgspec import structs

from jobs.constraints.grammar import grammar_of
from jobs.constraints.tool_calls import forced_calls, strict_calls
from jobs.records.model_card import ToolFormat
from jobs.records.prompt import Prompt
from model.grammar import Grammars
from model.text.tokenizer import Tokenizer
from model.text.tool_calls import ParsedCall, ToolCallParser

DEMO = Path(__file__).resolve().parents[3] / "model" / "demo"
EOS = 1275
CITY = {"type": "object", "properties": {"city": {"enum": ["Bonn", "Köln"]}}, "required": ["city"]}
SCHEMAS: dict[str, dict[str, Any] | None] = {
    "weather": CITY | {"additionalProperties": False},
    'say "hi"': {"type": "object", "properties": {"times": {"type": "integer"}}, "required": ["times"]},
    "now": None,
}
TOOLS = [
    {"type": "function", "function": {"name": name} | ({} if schema is None else {"parameters": schema})}
    for name, schema in SCHEMAS.items()
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(DEMO)


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer, (EOS,))


def said(
    grammars: Grammars,
    grammar: str,
    seed: int,
    max_tokens: int = 300,
    beginning: Sequence[int] = (),
    end_id: int | None = None,
    prefers: Sequence[int] = (),
) -> list[int]:
    """What a model says that chooses among the allowed tokens at random, and ends as soon as it may, or at `end_id`.

    Every other time it chooses one of the tokens that it prefers, if one of them is allowed.
    """
    chance, matcher = random.Random(seed), grammars.compiled(grammar).matcher()
    mask = np.zeros(matcher.mask_words, dtype=np.int32)
    ids = list(beginning)
    for token_id in beginning:
        matcher.accept(token_id)
    while not matcher.ended and len(ids) < max_tokens and (not ids or ids[-1] != end_id):
        matcher.write_mask(mask.ctypes.data)
        assert matcher.fault is None
        allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
        if EOS in allowed and chance.random() < 0.5:
            break
        options = [token for token in allowed.tolist() if token != EOS]
        preferred = [token for token in prefers if token in options]
        ids.append(int(chance.choice(preferred if preferred and chance.random() < 0.5 else options)))
        matcher.accept(ids[-1])
    return ids


@pytest.mark.parametrize("several", [True, False])
def test_every_completion_that_ends_is_calls_whose_arguments_follow_their_schemas(
    tokenizer: Tokenizer, grammars: Grammars, several: bool
) -> None:
    parser = ToolCallParser.of(tokenizer, "hermes")
    assert parser is not None
    grammar = grammar_of(forced_calls(TOOLS, SCHEMAS, several))
    numbers, names = set(), set()
    for seed in range(40):
        ids = said(grammars, grammar, seed)
        if len(ids) == 300:
            continue
        answer = parser.parse(ids, tokenizer.decode(ids), TOOLS)
        assert (answer.content.strip(), answer.num_malformed) == ("", 0), tokenizer.decode(ids)
        numbers.add(len(answer.calls))
        for call in answer.calls:
            names.add(call.name)
            schema = SCHEMAS[call.name]
            jsonschema.validate(json.loads(call.arguments), {"maxProperties": 0} if schema is None else schema)
    assert names == set(SCHEMAS)
    assert (numbers == {1}) is not several


def test_only_the_named_function_is_called(tokenizer: Tokenizer, grammars: Grammars) -> None:
    grammar = grammar_of(forced_calls(TOOLS, ["weather"], several=False))
    texts = {tokenizer.decode(said(grammars, grammar, seed)) for seed in range(12)}
    written = '<tool_call>\n{"name": "weather", "arguments": {"city": "%s"}}\n</tool_call>'
    assert {text.replace(" ", "").replace("\n", "") for text in texts} <= {
        (written % city).replace(" ", "").replace("\n", "") for city in ("Bonn", "Köln", "K\\u00f6ln")
    }


def test_calls_that_a_model_makes_by_itself_follow_the_schemas_of_strict_tools(
    tokenizer: Tokenizer, grammars: Grammars
) -> None:
    strict = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": SCHEMAS["weather"]}}
    free = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "required": ["zone"]}}}
    constraint = strict_calls(Prompt(0, "a", messages=({},), tools=(strict, free)), "hermes")
    assert constraint is not None
    parser, matcher = ToolCallParser.of(tokenizer, "hermes"), grammars.compiled(grammar_of(constraint)).matcher()
    assert parser is not None
    begun = tokenizer.encode('I look. <tool_call>\n{"name": "weather", "arguments": ')
    for token_id in begun:
        matcher.accept(token_id)
    wrong = grammars.compiled(grammar_of(constraint)).matcher()
    for token_id in tokenizer.encode('<tool_call>\n{"name": "weather", "arguments": {"town": "Bonn"}}\n</tool_call>'):
        wrong.accept(token_id)
    assert (matcher.fault, wrong.fault is None) == (None, False)
    called: list[ParsedCall] = []
    for seed in range(30):
        text = f"I look {seed}. <tool_call>"  # a random model would hardly begin a call by itself
        ids = said(grammars, grammar_of(constraint), seed, beginning=tokenizer.encode(text), end_id=parser.end_id)
        if ids[-1] != parser.end_id:
            continue
        answer = parser.parse(ids, tokenizer.decode(ids), (strict, free))
        assert (answer.content, answer.num_malformed) == (f"I look {seed}. ", 0)
        called += answer.calls
    assert {call.name for call in called} == {"weather", "now"}
    for call in called:
        jsonschema.validate(json.loads(call.arguments), CITY if call.name == "weather" else {"type": "object"})


@pytest.mark.parametrize("calls", ["hermes", "xml"])
def test_no_tool_or_no_strict_one_leaves_completions_free(calls: ToolFormat) -> None:
    function = {"name": "f", "strict": True}
    tools = ({"type": "function", "function": function},)
    line = Prompt(0, "a", messages=({},), tools=tools)
    assert strict_calls(line, calls) is not None
    for free in (
        structs.replace(line, tools=None),
        structs.replace(line, tools=({"type": "function", "function": {"name": "f", "strict": False}},)),
        structs.replace(line, tool_choice="none"),
        structs.replace(line, forces_calls=True),
    ):
        assert strict_calls(free, calls) is None


def test_what_qwen3_writes_is_allowed_token_for_token(tokenizer: Tokenizer, grammars: Grammars) -> None:
    text = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
    matcher = grammars.compiled(grammar_of(forced_calls(TOOLS, SCHEMAS, several=True))).matcher()
    for token_id in tokenizer.encode(f"{text}\n{text}"):
        matcher.accept(token_id)
        assert matcher.fault is None
    matcher.accept(EOS)
    assert (matcher.ended, matcher.fault) == (True, None)
