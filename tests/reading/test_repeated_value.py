"""A value that repeats from line to line is decoded once, and every line is what it would be alone."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from jobs.files.formats.json_line import LineInvalid, decode_object
from jobs.files.reading.repeated_value import RepeatedValue

SCHEMA = {"type": "object", "properties": {f"field {number}": {"type": "string"} for number in range(5)}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
TEXT = json.dumps(FORMAT)


def body(**more: Any) -> dict[str, Any]:
    return {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "Hi é"}], **more}}


def outcome(decode: Any, line: bytes) -> Any:
    try:
        return decode(line)
    except LineInvalid as error:
        return str(error)


def warm() -> RepeatedValue:
    repeated = RepeatedValue()
    repeated.decode(json.dumps(body(response_format=FORMAT)).encode())
    return repeated


@pytest.mark.parametrize("made", [body, lambda **more: {"prompt": "Hi", **more}])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":"), (" ,\t", "  : ")])
@pytest.mark.parametrize(("key", "value"), [("response_format", FORMAT), ("tools", [FORMAT]), ("guided_json", SCHEMA)])
def test_equal_values_are_one_object(made: Any, separators: tuple[str, str], key: str, value: Any) -> None:
    repeated = RepeatedValue()
    lines = [json.dumps(made(**{key: value}, seed=number), separators=separators).encode() for number in range(3)]
    found = [repeated.decode(line) for line in lines]
    assert found == list(map(decode_object, lines))
    values = [(said.get("body") or said)[key] for said in found]
    assert values[0] is values[1] is values[2]


# Lines that hold the same bytes, but mean something else, or are broken around them.
TRICKY = [
    f'{{"prompt": "\\"response_format\\": {{}}", "response_format": {TEXT}}}',
    f'{{"a\\"response_format": {TEXT}}}',
    f'{{"metadata": {{"response_format": {TEXT}}}}}',
    f'{{"response_format": {TEXT}, "response_format": {TEXT}}}',
    f'{{"response_format": {TEXT}, "response_format": null}}',
    f'{{"response_format": null, "response_format": {TEXT}}}',
    f'{{"prompt": "x"response_format": {TEXT}}}',
    f'{{"prompt": "x, "response_format": {TEXT}"}}',
    f'{{"prompt": x"response_format": {TEXT}}}',
    f'{{"response_format": {TEXT}',
    f'{{"response_format": {TEXT}}}}}',
    f'{{"response_format": {TEXT} 1}}',
    f'["response_format": {TEXT}]',
    f'"response_format": {TEXT}',
    f'{{"response_format": {TEXT[:-1]}, "more": 1}}}}',
    f'{{"body": [], "response_format": {TEXT}}}',
    f'{{"body": {{"response_format": {TEXT}}}, "response_format": {TEXT}}}',
    f'{{"body": {{"metadata": {{"response_format": {TEXT}}}, "response_format": 5}}}}',
    f'{{"response_format": {TEXT}, "prompt": "\\ud800"}}',
]


@pytest.mark.parametrize("line", TRICKY)
def test_a_line_that_only_looks_like_the_last_one_is_what_it_is_alone(line: str) -> None:
    repeated = warm()
    assert outcome(repeated.decode, line.encode()) == outcome(decode_object, line.encode())
    invalid_bytes = line.encode() + b"\xff"
    assert outcome(repeated.decode, invalid_bytes) == outcome(decode_object, invalid_bytes)


def test_any_damage_to_a_line_has_the_effect_that_it_has_alone() -> None:
    chance, repeated = random.Random(5), warm()
    line = json.dumps(body(response_format=FORMAT, stop=['"', "\\"]))
    pieces = ['"', "\\", "{", "}", ",", ":", '"response_format": ', TEXT, "0", " ", "]", '"body": {']
    for _ in range(600):
        place = chance.randint(0, len(line))
        damaged = line[:place] + chance.choice(pieces) + line[place + chance.randint(0, 3) :]
        assert outcome(repeated.decode, damaged.encode()) == outcome(decode_object, damaged.encode()), damaged


def test_a_file_whose_values_all_differ_is_not_searched_for_long() -> None:
    repeated = RepeatedValue()
    for number in range(100):
        line = json.dumps(body(response_format={**FORMAT, "number": number})).encode()
        assert repeated.decode(line) == decode_object(line)
    late = json.dumps(body(response_format=FORMAT)).encode()
    assert repeated.decode(late)["body"]["response_format"] is not repeated.decode(late)["body"]["response_format"]


@pytest.mark.parametrize(("plain_lines", "is_searched"), [(900, True), (1000, False)])
def test_a_file_of_plain_lines_is_not_searched_for_long(plain_lines: int, is_searched: bool) -> None:
    repeated = RepeatedValue()
    for _ in range(plain_lines):
        assert repeated.decode(b'{"prompt": "Hi"}') == {"prompt": "Hi"}
    late = json.dumps(body(response_format=FORMAT)).encode()
    first, second = repeated.decode(late), repeated.decode(late)
    assert first == second == decode_object(late)
    assert (first["body"]["response_format"] is second["body"]["response_format"]) == is_searched
