"""--schema, --choices, --regex and --score: what they take, and what they refuse before the file is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from cli.options.constraint_options import constraint_options
from jobs.errors import InvalidInput
from jobs.records.constraint import Constraint
from jobs.records.line_defaults import LineDefaults

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}


def defaults(**options: str | None) -> LineDefaults:
    """What a command gets."""
    received: list[LineDefaults] = []

    def command(*, line_defaults: LineDefaults) -> None:
        received.append(line_defaults)

    constraint_options(command)(**{"schema": None, "choices": None, "regex": None, "score": None, **options})
    return received[0]


def given(**options: str | None) -> Constraint | None:
    """The constraint that a command gets."""
    return defaults(**options).constraint


@pytest.mark.parametrize(
    "content",
    [
        SCHEMA,
        {"name": "n", "schema": SCHEMA},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    ],
)
def test_a_file_holds_a_schema_or_a_response_format(tmp_path: Path, content: dict[str, Any]) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(content, indent=2))
    constraint = given(schema=str(file))
    assert constraint is not None
    assert (constraint.kind, json.loads(constraint.text)) == ("json", SCHEMA)


def test_choices_stand_between_commas() -> None:
    assert given(choices="good, bad,, very bad") == Constraint("choice", '["good","bad","very bad"]')


def test_choices_to_score_stand_between_commas_and_are_no_constraint() -> None:
    assert defaults(score="good, bad,, very bad") == LineDefaults(score=("good", "bad", "very bad"))


def test_a_regex_is_taken_as_it_is() -> None:
    assert given(regex=r"\d{3}") == Constraint("regex", r"\d{3}")


def test_without_an_option_any_text_may_come() -> None:
    assert given() is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"choices": " , "}, "--choices  ,  cannot be used: it names no text"),
        ({"score": " , "}, "--score  ,  cannot be used: it names no text"),
        ({"score": "a,b,a"}, '--score a,b,a cannot be used: --score has the choice "a" twice; choices must differ.'),
        ({"regex": "("}, "--regex ( cannot be used: the regex cannot be used: unclosed group."),
        ({"schema": '{"type": "object"}'}, "--schema needs the name of a file, not the schema itself."),
        ({"schema": "missing.json"}, "--schema missing.json cannot be read: No such file or directory."),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(options: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        given(**options)
    assert str(refusal.value).startswith(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "the file is not JSON"), ("[]", "the file is an empty list"), ('{"type": "strnig"}', "Invalid type")],
)
def test_a_file_without_a_schema_is_refused_by_name(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(content)
    with pytest.raises(InvalidInput, match=reason) as refusal:
        given(schema=str(file))
    assert str(file) in str(refusal.value)


def test_two_constraints_contradict_each_other() -> None:
    with pytest.raises(click.UsageError, match="--choices and --regex cannot be used together"):
        given(choices="a,b", regex="a")
    with pytest.raises(click.UsageError, match="--choices and --score cannot be used together"):
        given(choices="a,b", score="a,b")


@pytest.mark.parametrize("option", ["--choices", "--score"])
def test_texts_of_a_repeated_option_count_together(option: str) -> None:
    received: list[LineDefaults] = []

    @click.command()
    @constraint_options
    def command(*, line_defaults: LineDefaults) -> None:
        received.append(line_defaults)

    command.main([option, "good", option, "bad,so so"], standalone_mode=False)
    command.main([option, "good,bad,so so"], standalone_mode=False)
    command.main([], standalone_mode=False)
    repeated, listed, nothing = received
    assert repeated == listed != nothing
    with pytest.raises(InvalidInput, match="names no text"):
        command.main([option, ""], standalone_mode=False)
