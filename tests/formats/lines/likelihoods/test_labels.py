"""Lines of `/v1/score`, and their results."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import CheckedFile, PromptFile
from jobs.files.results.flat_rows import FlatRows
from jobs.files.results.openai_lines import openai_line
from jobs.records.completion import Completion, Usage
from jobs.records.constraint import Constraint
from jobs.records.line_defaults import LineDefaults
from jobs.records.prompt import LabelWish
from jobs.records.sampling import FinishReason
from jobs.submission.checking import check_file
from jobs.submission.submit_options import SubmitOptions
from tests.formats.conftest import Decode
from tests.formats.results.test_result_lines import job, parsed

Why = Callable[..., str]


def scoring(**body: Any) -> dict[str, Any]:
    said = {"query": "Is it a city? ", "items": ["Rome", "Red"], "label_token_ids": [7, 9], **body}
    return {"custom_id": "a", "url": "/v1/score", "body": {key: value for key, value in said.items() if value != ...}}


def test_each_item_stands_after_the_query_or_before_it(decode: Decode) -> None:
    line = decode(scoring())
    assert (line.invalid, line.endpoint, line.labels) == (None, "score", LabelWish((7, 9)))
    assert [part.text for part in line.parts()] == ["Is it a city? Rome", "Is it a city? Red"]
    first = decode(scoring(item_first=True, apply_softmax=True))
    assert first.labels == LabelWish((7, 9), softmax=True)
    assert [part.text for part in first.parts()] == ["RomeIs it a city? ", "RedIs it a city? "]
    one = decode(scoring(items="Rome"))
    assert [part.text for part in one.parts()] == ["Is it a city? Rome"]


def test_query_and_items_may_be_token_ids(decode: Decode) -> None:
    line = decode(scoring(query=[1, 2], items=[[3], [4, 5]]))
    assert [part.token_ids for part in line.parts()] == [(1, 2, 3), (1, 2, 4, 5)]


def test_the_body_alone_says_what_it_asks_for(decode: Decode) -> None:
    line = scoring()
    del line["url"]
    assert decode(line).endpoint == "score"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"query": ...}, "`query` is null; it must be a string or a list of token ids"),
        ({"items": []}, "`items` is an empty list; it must be a string, or a list of strings"),
        ({"items": [5]}, "`items[0]` is 5; it must be a string or a list of token ids"),
        ({"items": ["a"] * 2049}, "`items` has 2,049 items; at most 2,048 are allowed"),
        ({"items": [[1]]}, "`query` and `items` must both be texts, or both be lists of token ids"),
        ({"query": "", "items": [""]}, "`query` and an item are both empty"),
        ({"label_token_ids": []}, "`label_token_ids` has 0 token ids; it must have 1 to 256"),
        ({"label_token_ids": ["yes"]}, "it must be a list of token ids"),
        ({"label_token_ids": [1000]}, "`label_token_ids` holds the token id 1,000; the vocabulary of demo is from 0"),
        ({"apply_softmax": 1}, "`apply_softmax` is 1; it must be true or false"),
        ({"temperature": 0}, "`temperature` has no meaning for scores"),
        ({"labels": ["yes"]}, '"labels" is not a known key'),
    ],
)
def test_a_wrong_body_is_told_what_is_wrong(why: Why, body: dict[str, Any], reason: str) -> None:
    assert reason in why(scoring(**body))


def test_a_result_is_a_scoring_object() -> None:
    probs = ((0.75, 0.1), (1 / 3, 1e-9))
    done = Completion(3, "q", "", FinishReason.STOP, Usage(12, 0), endpoint="score", label_probs=probs)
    body = parsed(openai_line(done, job("openai")))["response"]["body"]
    assert body == {
        "object": "scoring",
        "model": "demo",
        "scores": [[0.75, 0.1], [0.33333333, 1e-9]],
        "usage": {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12},
    }
    assert parsed(FlatRows("openai").row(done))["scores"] == body["scores"]


def checked(tmp_path: Path, lines: list[dict[str, Any]], **options: Any) -> CheckedFile:
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    with PromptFile.open(str(path), io.BytesIO()) as file:
        return check_file(file, SubmitOptions("demo", line_defaults=CHOICES, **options))


CHOICES = LineDefaults(constraint=Constraint("choice", '["a","b"]'))
CHAT = {"custom_id": "c", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "Hi"}]}}
RERANK = {"custom_id": "r", "url": "/v1/rerank", "body": {"query": "q", "documents": ["d"]}}


@pytest.mark.parametrize(
    ("lines", "skip"), [([scoring()], False), ([RERANK], False), ([scoring(items=5), RERANK], True)]
)
def test_choices_are_refused_if_no_line_asks_for_a_text(
    tmp_path: Path, lines: list[dict[str, Any]], skip: bool
) -> None:
    with pytest.raises(InvalidInput, match=r"--choices has no meaning: the lines of .*lines.jsonl ask") as refusal:
        checked(tmp_path, lines, skip_invalid=skip)
    assert refusal.value.hint == "Leave it out."


def test_choices_apply_to_the_lines_of_a_file_that_ask_for_a_text(tmp_path: Path) -> None:
    prompts = [CHOICES.applied_to(prompt) for prompt in checked(tmp_path, [scoring(), CHAT, RERANK]).prompts()]
    assert [prompt.constraint for prompt in prompts] == [None, CHOICES.constraint, None]
