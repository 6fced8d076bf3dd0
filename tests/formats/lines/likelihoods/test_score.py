"""Lines with choices to score."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile
from jobs.files.results.flat_rows import FlatRows
from jobs.files.results.native_lines import native_line
from jobs.records.completion import Score
from jobs.records.line_defaults import LineDefaults
from jobs.records.model_card import ModelCard
from jobs.records.prompt import NO_COLUMNS
from jobs.submission.checking import check_file
from jobs.submission.submit_options import LineOptions, SubmitOptions
from tests.formats.conftest import Decode
from tests.formats.results.test_result_lines import completion, parsed

Why = Callable[..., str]
MESSAGES = [{"role": "user", "content": "Hi"}]


def test_a_line_with_choices_asks_for_their_scores(decode: Decode) -> None:
    for prompt in ({"prompt": "x"}, {"prompt": [1, 2]}, {"messages": MESSAGES}):
        line = decode({"id": "a", **prompt, "score": ["good", "bad"], "gold": "bad"})
        assert (line.invalid, line.score) == (None, ("good", "bad"))
        assert json.loads(bytes(line.columns)) == {"gold": "bad"}
    assert decode({"prompt": "x", "score": ["good"]}).columns == NO_COLUMNS
    assert decode({"prompt": "x", "score": ["good"], "n": 1, "model": "demo", "seed": None}).invalid is None


@pytest.mark.parametrize("value", [0.5, 3, "good", None, [], [1, 2], {"a": 1}])
def test_a_score_that_is_no_list_of_texts_is_a_column(decode: Decode, value: object) -> None:
    line = decode({"prompt": "x", "score": value})
    assert (line.invalid, line.score) == (None, ())
    assert b"score" in bytes(line.columns)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"score": ["a", "b", "a"]}, '`score` has the choice "a" twice; choices must differ'),
        ({"score": ["a", ""]}, '`score[1]` is ""; it must be a text of 1 to 1,000 characters'),
        ({"score": ["a" * 1001]}, "it must be a text of 1 to 1,000 characters"),
        ({"score": [str(place) for place in range(257)]}, "`score` has 257 choices; at most 256 are allowed"),
        ({"score": ["a"], "temperature": 0}, "`temperature` has no meaning beside `score`"),
        ({"score": ["a"], "n": 2}, "`n` has no meaning beside `score`"),
        ({"score": ["a"], "logprobs": 3}, "`logprobs` has no meaning beside `score`"),
        ({"score": ["a"], "guided_choice": ["a", "b"]}, "`guided_choice` has no meaning beside `score`"),
    ],
)
def test_wrong_choices_are_told_what_is_wrong(why: Why, line: dict[str, Any], reason: str) -> None:
    assert reason in why({"prompt": "x", **line})


def test_choices_exclude_a_thought(why: Why, decode: Decode) -> None:
    line = {"messages": MESSAGES, "score": ["a"]}
    assert "choices are scored without a thought" in why({**line, "enable_thinking": True})
    assert decode({**line, "enable_thinking": False}).invalid is None
    always = ModelCard("deep", 1000, 2048, True, thinking="always")
    assert "deep always thinks; use a model that can answer at once" in why(line, card=always)
    assert decode({"prompt": "x", "score": ["a"]}, card=always).invalid is None


SCORES = (Score("good", -0.25, 1, True, 0.8), Score("bad", -1.636294, 2, False, 0.2))


def test_a_native_result_has_the_scores_and_the_best_choice() -> None:
    result = parsed(native_line(completion(scores=SCORES)))
    assert list(result)[-2:] == ["best", "scores"]
    assert result["best"] == result["completion"]
    assert result["scores"] == [
        {"choice": "good", "logprob": -0.25, "num_tokens": 1, "is_greedy": True, "prob": 0.8},
        {"choice": "bad", "logprob": -1.636294, "num_tokens": 2, "is_greedy": False, "prob": 0.2},
    ]


def test_a_row_of_a_table_has_the_probability_of_its_completion() -> None:
    row = parsed(FlatRows("native").row(completion(scores=SCORES)))
    assert (row["prob"], len(row["scores"])) == (0.8, 2)
    assert "best" not in row
    assert FlatRows("native").column_name("prob", with_source=False) == "input_prob"


ALWAYS = ModelCard("deep", 1000, 2048, True, thinking="always")


@pytest.mark.parametrize(
    ("line", "options", "reason"),
    [
        ({"custom_id": "a", "body": {"messages": MESSAGES}}, {}, "--score is for native lines"),
        ({"messages": MESSAGES}, {"lines": LineOptions(n=2)}, "--score and -n 2 cannot be used together"),
        ({"messages": MESSAGES}, {"card": ALWAYS}, "deep always thinks"),
        ({"messages": MESSAGES}, {"line_defaults": LineDefaults(True, score=("a",))}, "--score and --thinking cannot"),
    ],
)
def test_a_jobs_choices_that_its_lines_cannot_have_are_refused(
    tmp_path: Path, line: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps(line))
    said = {"line_defaults": LineDefaults(score=("a", "b")), **options}
    with PromptFile.open(str(path), io.BytesIO()) as file, pytest.raises(InvalidInput, match=reason):
        check_file(file, SubmitOptions("demo", **said))
