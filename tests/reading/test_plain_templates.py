"""A template that only puts columns between texts is filled in without the helper process, as jinja2 would do it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.files.reading.row_prompts import PromptOptions, RowPrompts
from jobs.templates.plain_template import MAX_BYTES
from jobs.templates.row_template import RowTemplate

pytestmark = pytest.mark.usefixtures("quick_helpers")

PLAIN = ["{{ a }}", "100% of {{ a }}\n{{ b }}: {{a}}\n", "%s {{ b }}{# a note #}", "{{ None_ }}{{ a }}", "no column"]
PLAIN += ["{{ row['two words'] }}: {{ a }}", "{{ row.b }}{{ row['items'] }}{{ row['self'] }}", "{{ row._c }}"]
NOT_PLAIN = ["{{ a|trim }}", "{{ a.b }}", "{{ a ~ b }}", "{% if a %}{{ a }}{% endif %}", "{{ 'a' }}"]
NOT_PLAIN += ["{{ row.items }}", "{{ row['a']['b'] }}", "{{ row[a] }}", "{{ a['b'] }}", "{{ row['a']|trim }}"]
NOT_PLAIN += ["{{ self }}", "{{ loop }}", "{{ super }}", "{{ caller }}", "{% set a = 1 %}{{ a }}", "{{ a }}{{ b + 1 }}"]

values = st.one_of(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())


@cache
def template(source: str) -> RowTemplate:
    return RowTemplate([source])


def filled_in(source: str, row: dict[str, Any]) -> list[str] | None:
    return template(source).texts(row, len(json.dumps(row)))


def rendered(source: str, row: dict[str, Any]) -> tuple[tuple[bool, str], ...]:
    return template(source).begin([json.dumps(row).encode()], [1])()[0]


@given(st.sampled_from(PLAIN), values, values)
def test_the_text_of_a_plain_template_is_that_of_jinja2(source: str, a: object, b: object) -> None:
    row = {"a": a, "b": b, "None_": "", "self": "me", "two words": b, "items": a, "_c": b}
    texts = filled_in(source, row)
    assert texts is not None
    assert rendered(source, row) == ((True, texts[0]),)


@pytest.mark.parametrize("source", NOT_PLAIN)
def test_a_template_that_does_more_goes_to_the_helper_process(source: str) -> None:
    names = ("a", "b", "self", "loop", "super", "caller", "items")
    assert filled_in(source, dict.fromkeys(names, "x")) is None


@pytest.mark.parametrize("source", ["{{ row['a'] }}", "{{ row.a }}"])
def test_a_column_with_the_name_row_takes_the_place_of_the_whole_row(source: str) -> None:
    row = {"row": {"a": "of the column"}, "a": None}
    assert filled_in(source, row) is None
    assert template(source).without_value(row) == ()
    assert rendered(source, row) == ((True, "of the column"),)


@pytest.mark.parametrize("row", [{}, {"a": ["x"]}, {"a": {"b": 1}}, {"a": "x" * MAX_BYTES}])
def test_a_row_whose_text_only_jinja2_knows_or_may_be_long_goes_to_the_helper_process(row: dict[str, Any]) -> None:
    assert filled_in("{{ a }}", row) is None


def test_rows_of_both_kinds_become_lines_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    begin = RowTemplate.begin

    def noted(self: RowTemplate, rows: list[bytes], numbers: list[int]) -> Callable[[], Any]:
        sent.extend(rows)
        return begin(self, rows, numbers)

    monkeypatch.setattr(RowTemplate, "begin", noted)
    rows = [b'{"a":"x"}', b'{"a":["y"]}', b'{"b":1}', b"[]", b'{"a":2}']
    found = list(RowPrompts(PromptOptions("{{ a }}", raw=True)).lines(enumerate(rows, 1)))
    said = [getattr(row, "line", None) or getattr(row, "reason", row) for _, row in found]
    assert said[:2] == [{"prompt": "x"}, {"prompt": "['y']"}]
    assert str(said[2]).startswith("the template fails: 'a' is undefined")
    assert said[3:] == [b"[]", {"prompt": "2"}]
    assert sent == [rows[1], rows[2]]


def test_a_plain_template_needs_no_helper_process_for_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the helper process got rows")

    prompts = RowPrompts(PromptOptions("Good? {{ text }}", raw=True))
    monkeypatch.setattr("jobs.templates.template_process.TemplateProcess.begin", refuse)
    rows = ((number, b'{"text":"%d"}' % number) for number in range(1000))
    assert [row.line["prompt"] for _, row in prompts.lines(rows)] == [f"Good? {number}" for number in range(1000)]  # type: ignore[union-attr]
