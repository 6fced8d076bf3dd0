"""Fields that ask for JSON, a regex, a choice or a grammar: what is taken, and what is refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from jobs.constraints.checker import ConstraintChecker
from jobs.constraints.grammar import grammar_of
from jobs.constraints.validation import Validator
from jobs.files.formats.fields import Notes
from jobs.files.formats.json_line import LineInvalid
from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.records.constraint import FREE_TEXT, JSON_OBJECT, Constraint
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings

Decode = Callable[..., Prompt]
Why = Callable[..., str]

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TEXT = json.dumps(SCHEMA, separators=(",", ":"))
GBNF = 'root ::= "yes" | other\nother ::= [a-z]+'


def native(**fields: Any) -> dict[str, Any]:
    return {"id": "q", "prompt": "x", **fields}


def chat(**fields: Any) -> dict[str, Any]:
    return {"custom_id": "q", "url": "/v1/chat/completions", "body": {"messages": [MESSAGE], **fields}}


def responses(**fields: Any) -> dict[str, Any]:
    return {"custom_id": "q", "url": "/v1/responses", "body": {"input": "Hi", **fields}}


MESSAGE = {"role": "user", "content": "Hi"}


def named(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, **more}}


SPELLINGS: list[tuple[dict[str, Any], Constraint]] = [
    ({"response_format": {"type": "json_object"}}, JSON_OBJECT),
    ({"response_format": {"type": "json_object", "schema": SCHEMA}}, Constraint("json", TEXT)),
    ({"response_format": named(SCHEMA)}, Constraint("json", TEXT)),
    ({"response_format": named(SCHEMA, strict=False, description="d")}, Constraint("json", TEXT)),
    ({"response_format": named(SCHEMA, strict=True)}, Constraint("json", TEXT, strict=True)),
    ({"response_format": {"name": "n", "schema": SCHEMA, "strict": True}}, Constraint("json", TEXT, strict=True)),
    ({"response_format": SCHEMA}, Constraint("json", TEXT)),
    ({"structured_outputs": {"json": SCHEMA}}, Constraint("json", TEXT)),
    ({"structured_outputs": {"json": TEXT, "regex": None}}, Constraint("json", TEXT)),
    ({"structured_outputs": {"regex": "a+"}}, Constraint("regex", "a+")),
    ({"structured_outputs": {"choice": ["a", "b", "a"]}}, Constraint("choice", '["a","b"]')),
    ({"structured_outputs": {"grammar": 'start: "a"'}}, Constraint("grammar", 'start: "a"')),
    ({"structured_outputs": {"json_object": True}}, JSON_OBJECT),
    ({"structured_outputs": {"json": SCHEMA, "whitespace_pattern": " ?"}}, Constraint("json", TEXT, whitespace=" ?")),
    ({"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}}, Constraint("json", TEXT, whitespace="")),
    ({"structured_outputs": {"regex": "a+", "disable_fallback": True}}, Constraint("regex", "a+")),
    ({"guided_json": SCHEMA}, Constraint("json", TEXT)),
    ({"guided_json": TEXT}, Constraint("json", TEXT)),
    ({"guided_json": SCHEMA, "guided_whitespace_pattern": " ?"}, Constraint("json", TEXT, whitespace=" ?")),
    ({"guided_json_object": True}, JSON_OBJECT),
    ({"guided_regex": "a+"}, Constraint("regex", "a+")),
    ({"guided_choice": ["a", "b"]}, Constraint("choice", '["a","b"]')),
    ({"guided_grammar": 'start: "a"'}, Constraint("grammar", 'start: "a"')),
    ({"guided_regex": "a+", "structured_outputs": {"regex": "a+"}}, Constraint("regex", "a+")),
]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, JSON_OBJECT),
        ({"responseJsonSchema": SCHEMA}, Constraint("json", TEXT)),
        (
            {
                "responseSchema": {
                    "type": "OBJECT",
                    "properties": {"type": {"type": "STRING"}, "a": {"type": "ARRAY", "items": {"type": "INTEGER"}}},
                    "propertyOrdering": ["a", "type"],
                }
            },
            Constraint(
                "json",
                '{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}},"type":{"type":"string"}}}',
            ),
        ),
    ],
)
def test_gemini_requests_for_json_are_the_same_constraints(
    decode: Decode, config: dict[str, Any], expected: Constraint
) -> None:
    contents = [{"parts": [{"text": "Hi"}]}]
    request = {"contents": contents, "generationConfig": {"responseMimeType": "application/json", **config}}
    prompt = decode({"key": "q", "request": request})
    assert (prompt.invalid, prompt.constraint) == (None, expected)


@pytest.mark.parametrize(("fields", "expected"), SPELLINGS)
@pytest.mark.parametrize("line", [native, chat, responses])
def test_each_spelling_is_the_same_constraint(
    decode: Decode, line: Callable[..., dict[str, Any]], fields: dict[str, Any], expected: Constraint
) -> None:
    prompt = decode(line(**fields))
    assert (prompt.invalid, prompt.constraint) == (None, expected)


@pytest.mark.parametrize("nothing", [{"guided_json_object": False}, {"guided_json": None}, {"response_format": None}])
def test_a_field_that_asks_for_nothing_sets_no_constraint(decode: Decode, nothing: dict[str, Any]) -> None:
    assert decode(native(**nothing)) == decode(native())


def test_a_responses_line_has_its_format_inside_text(decode: Decode) -> None:
    said = {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}
    assert decode(responses(text={"format": said})).constraint == Constraint("json", TEXT, strict=True)
    assert decode(responses(text={"format": {"type": "json_object"}})).constraint == JSON_OBJECT
    assert decode(responses(text={"format": {"type": "text"}})).constraint is None


def test_the_order_of_a_schemas_properties_is_kept(decode: Decode) -> None:
    said = {"type": "object", "properties": {"reason": {"type": "string"}, "label": {"type": "string"}, "a": {}}}
    constraint = decode(native(guided_json=said)).constraint
    assert constraint is not None
    assert list(json.loads(constraint.text)["properties"]) == ["reason", "label", "a"]


def test_llamas_grammar_becomes_larks(decode: Decode) -> None:
    constraint = decode(native(guided_grammar=GBNF)).constraint
    assert constraint is not None
    assert constraint.kind == "grammar" and "start:" in constraint.text and "::=" not in constraint.text


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"response_format": "json"}, '`response_format` is "json"; it must be an object'),
    ({"response_format": {"type": "xml"}}, '`response_format.type` is "xml"; it must be "text", "json_object" or'),
    ({"response_format": {"type": "structural_tag"}}, '`response_format.type` is "structural_tag"; it must be'),
    ({"response_format": {"type": "json_schema"}}, "`response_format.json_schema` is null; it must be an object"),
    ({"response_format": named(None)}, "`response_format.json_schema` has no `schema`"),
    ({"response_format": named([])}, "`response_format.json_schema.schema` is an empty list; it must be an object"),
    ({"response_format": named(SCHEMA, strict=1)}, "`response_format.json_schema.strict` is 1; it must be true or"),
    ({"response_format": named(SCHEMA, tsrict=True)}, '`response_format.json_schema` has the key "tsrict"'),
    ({"guided_json": "{"}, "`guided_json` is no JSON schema: its text is not JSON: it ends too early"),
    ({"guided_json": {"type": "strnig"}}, "the JSON schema cannot be used: Invalid type: strnig"),
    ({"guided_json": {"$ref": "#/$defs/a"}}, "it has a `$ref` to #/$defs/a, which does not exist"),
    ({"guided_json": {"$ref": "https://x.y/z"}}, "it has a `$ref` to https://x.y/z, which is outside of the schema"),
    ({"guided_json": {"type": "integer", "minimum": 5, "maximum": 1}}, "minimum (5) is greater than maximum (1)"),
    ({"guided_json": {"pattern": "(?=a)b", "type": "string"}}, "look-around, including look-ahead and look-behind"),
    ({"guided_json": {"maximum": 2**70}}, "holds an integer of more than 64 bits"),
    ({"response_format": named({"uniqueItems": True}, strict=True)}, "the JSON schema has `uniqueItems`, which cannot"),
    ({"response_format": named({"format": "postcode"}, strict=True)}, "the JSON schema has `format` postcode, which"),
    ({"response_format": named({"oneOf": [{}, {"type": "null"}]}, strict=True)}, "the JSON schema has `oneOf`, which"),
    ({"structured_outputs": {}}, "`structured_outputs` has 0 kinds of constraints; it must have one of `json`"),
    ({"structured_outputs": {"json": {}, "regex": "a"}}, "`structured_outputs` has 2 kinds of constraints"),
    ({"structured_outputs": {"structural_tag": "{}"}}, '`structured_outputs` has "structural_tag", which is not'),
    ({"structured_outputs": {"json_object": 1}}, "`structured_outputs.json_object` is 1; it must be true or false"),
    ({"structured_outputs": {"json": {}, "whitespace_pattern": "("}}, "the JSON schema cannot be used: unclosed group"),
    ({"guided_regex": ""}, '`guided_regex` is ""; it must be a text that is not empty'),
    ({"guided_regex": "("}, "the regex cannot be used: unclosed group"),
    ({"guided_regex": r"(a)\1"}, "the regex cannot be used: backreferences are not supported"),
    ({"guided_choice": []}, "`guided_choice` is an empty list; it must be a list of texts that are not empty"),
    ({"guided_choice": ["a", 5]}, "`guided_choice` is a list of 2; it must be a list of texts that are not empty"),
    ({"guided_choice": ["a", ""]}, "`guided_choice` is a list of 2; it must be a list of texts that are not empty"),
    ({"guided_grammar": "start: b"}, 'the grammar cannot be used: unknown name: "b"'),
    ({"guided_grammar": 'r ::= "a"'}, "the grammar cannot be used: No 'root' rule found"),
    ({"guided_whitespace_pattern": " "}, "`guided_whitespace_pattern` needs a schema beside it"),
    ({"guided_regex": "a", "guided_choice": ["a"]}, '`guided_regex` is "a" but `guided_choice` is a list of 1'),
    ({"guided_regex": "a", "min_tokens": 2}, "`min_tokens` is 2; it cannot be used with a schema"),
    ({"guided_regex": "a", "ignore_eos": True}, "`ignore_eos` is true; it cannot be used with a schema"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_cannot_be_enforced_is_refused_with_the_reason(why: Why, fields: dict[str, Any], reason: str) -> None:
    fault = why(native(**fields))
    assert reason in fault
    assert "\n" not in fault and len(fault) < 400


HUGE: dict[str, dict[str, Any]] = {
    "a hundred thousand values": {"guided_json": {"enum": [f"v{n}" for n in range(100_000)]}},
    "ten megabytes": {"guided_json": {"description": "x" * 10**7}},
    "a hundred thousand choices": {"guided_choice": [f"v{n}" for n in range(100_000)]},
    "a megabyte of regex": {"guided_regex": "x" * 10**6},
    "20,000 brackets": {"guided_grammar": "start: " + "(" * 20_000 + '"a"' + ")" * 20_000},
}


@pytest.mark.parametrize("fields", HUGE.values(), ids=HUGE)
def test_what_would_take_endless_time_or_memory_is_refused(why: Why, fields: dict[str, Any]) -> None:
    fault = why(native(**fields))
    assert any(word in fault for word in ("at most", "too large", "too deeply"))


def test_a_check_that_takes_too_long_is_given_up() -> None:
    validator = Validator(max_seconds=0.1)
    patterns = [{"type": "string", "pattern": f"a.{{{n}}}b"} for n in range(19)]
    slow = grammar_of(Constraint("json", json.dumps({"allOf": patterns})))
    assert validator.findings(slow).fault == "its check takes more than 0.1 s; give a simpler one"
    assert validator.findings(grammar_of(JSON_OBJECT)).fault is None


def test_a_schema_on_which_llguidance_panics_is_refused() -> None:
    cut_inside_a_character = {"maxLength": ["a" + "é" * 100]}
    said = Validator().findings(grammar_of(Constraint("json", json.dumps(cut_inside_a_character, ensure_ascii=False))))
    assert said.fault == "llguidance, which enforces it, cannot read a part of it"


def test_a_deeply_nested_schema_is_refused(why: Why) -> None:
    line = b'{"prompt": "x", "guided_json": ' + b'{"items": ' * 200 + b"{}" + b"}" * 200 + b"}"
    assert "nested more than 64 deep" in why(line)


def test_a_pattern_that_backtracks_elsewhere_is_taken(decode: Decode) -> None:
    assert decode(native(guided_json={"type": "string", "pattern": "(a+)+$"})).invalid is None


def test_keywords_that_are_not_enforced_are_counted_by_schema() -> None:
    decoder = LineDecoder()
    schemas = [{"uniqueItems": True, "not": {}}, {"type": "string", "format": "postcode"}, SCHEMA]
    for number in range(9):
        line = json.dumps({"prompt": "x", "guided_json": schemas[number % 3]}).encode()
        assert decoder.decode(line, number, number + 1).invalid is None
    assert dict(decoder.notes.unenforced) == {"`not`, `uniqueItems`": 3, "`format` postcode": 3}


def test_a_keyword_that_is_not_enforced_may_stand_in_several_places(decode: Decode, why: Why) -> None:
    twice = {"type": "object", "properties": {name: {"items": True, "uniqueItems": True} for name in "ab"}}
    assert decode(native(guided_json=twice)).invalid is None
    assert "has `uniqueItems`, which cannot be enforced" in why(native(response_format=named(twice, strict=True)))


def test_a_line_without_a_constraint_has_to_suit_the_jobs_one() -> None:
    rules = LineRules(constraint=Constraint("regex", "a+"))
    decoder = LineDecoder(rules)
    assert decoder.decode(b'{"prompt": "x"}', 0, 1).constraint is None
    free = b'{"prompt": "x", "ignore_eos": true, "response_format": {"type": "text"}}'
    assert decoder.decode(free, 1, 2).constraint == FREE_TEXT
    assert "`ignore_eos` is true" in (decoder.decode(b'{"prompt": "x", "ignore_eos": true}', 2, 3).invalid or "")


def test_a_constraint_has_to_suit_the_jobs_settings() -> None:
    decoder = LineDecoder(LineRules(defaults=SamplingSettings(min_tokens=5)))
    assert decoder.decode(b'{"prompt": "x"}', 0, 1).invalid is None
    assert "`min_tokens` is 5" in (decoder.decode(b'{"prompt": "x", "guided_regex": "a"}', 1, 2).invalid or "")
    fixed = b'{"prompt": "x", "guided_regex": "a", "min_tokens": 0}'
    assert decoder.decode(fixed, 2, 3).invalid is None


def test_a_schema_is_validated_once_for_all_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    validated: list[str] = []
    findings = Validator.findings

    def counted(self: Validator, grammar: str) -> Any:
        validated.append(grammar)
        return findings(self, grammar)

    monkeypatch.setattr(Validator, "findings", counted)
    checker = ConstraintChecker(Notes())
    for _ in range(100):
        checker.checked(Constraint("json", TEXT))
        with pytest.raises(LineInvalid):
            checker.checked(Constraint("regex", "("))
    assert len(validated) == 2
    checker.checked(Constraint("json", TEXT, whitespace=""))
    assert len(validated) == 3
