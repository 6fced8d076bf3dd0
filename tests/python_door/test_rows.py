"""Rows of Python become the prompts that the same rows in a file become."""

from __future__ import annotations

import datetime
import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas
import pyarrow
import pytest

from jobs.errors import InvalidInput
from jobs.files.reading.row_reader import ReadingOptions
from qwen_batch.rows import open_rows

ROWS = [
    {"id": "a", "prompt": "Why?\n“So”", "answer": 1, "tags": ["x", "y"]},
    {"id": "b", "prompt": "How, then?", "answer": 2, "tags": []},
    {"id": "c", "prompt": "☃", "answer": 3, "tags": ["z"]},
]


def prompts_of(rows: Any) -> list[tuple[str, str | None, Any]]:
    """Id, text and columns of each prompt."""
    with open_rows(rows, ReadingOptions()) as file:
        prompts = list(file.check().prompts())
    return [(prompt.id, prompt.text, msgspec.json.decode(prompt.columns or b"{}")) for prompt in prompts]


def dataset(rows: list[dict[str, Any]]) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_list(rows[::-1]).select([2, 1, 0])  # its table has another order than its rows


@pytest.mark.parametrize(
    "container",
    [
        list,
        tuple,
        iter,
        lambda rows: (dict(row) for row in rows),
        lambda rows: [types.MappingProxyType(row) for row in rows],
        pandas.DataFrame,
        lambda rows: pandas.DataFrame(rows, index=[7, 8, 9]),
        pyarrow.Table.from_pylist,
        pytest.param(dataset, marks=pytest.mark.slow),  # importing the library takes seconds
    ],
    ids=["list", "tuple", "iterator", "generator", "mappings", "DataFrame", "index", "Arrow", "Dataset"],
)
def test_every_kind_of_rows_gives_the_prompts_of_the_file(
    container: Callable[[list[dict[str, Any]]], Any], tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    expected = prompts_of(path)
    assert [id for id, *_ in expected] == ["a", "b", "c"]
    assert expected[0][1:] == (
        "Why?\n“So”",
        {"answer": 1, "tags": ["x", "y"]},
    )
    assert prompts_of(container(ROWS)) == expected
    assert prompts_of(str(path)) == expected


def test_several_paths_and_patterns_are_one_job(tmp_path: Path) -> None:
    for name, row in zip("abc", ROWS, strict=True):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    expected = [row["id"] for row in ROWS]
    assert [id for id, *_ in prompts_of([tmp_path / "a.jsonl", str(tmp_path / "[bc].jsonl")])] == expected
    assert [id for id, *_ in prompts_of(str(tmp_path / "*.jsonl"))] == expected


def test_values_of_numpy_and_dates_become_json() -> None:
    row = {
        "prompt": np.str_("Why?"),
        "number": np.int64(3),
        "share": np.float32(0.5),
        "vector": np.arange(2),
        "flag": np.bool_(True),
        "day": datetime.date(2026, 1, 2),
    }
    ((_, text, columns),) = prompts_of([row])
    assert text == "Why?"
    assert columns == {
        "number": 3,
        "share": 0.5,
        "vector": [0, 1],
        "flag": True,
        "day": "2026-01-02",
    }


def test_a_row_may_be_a_list_of_messages() -> None:
    chats = [[{"role": "user", "content": "Why?"}], [{"role": "user", "content": "How?"}]]
    with open_rows(iter(chats), ReadingOptions()) as file:
        assert [prompt.messages for prompt in file.check().prompts()] == [tuple(chat) for chat in chats]


def test_rows_are_read_once_and_what_changes_later_does_not_count() -> None:
    rows = [{"prompt": "Why?"}]
    with open_rows(rows, ReadingOptions()) as file:
        checked = file.check()
        rows.append({"prompt": "How?"})
        assert len(list(checked.prompts())) == 1


def test_an_error_of_the_users_generator_comes_through() -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"prompt": "Why?"}
        raise LookupError("no more rows")

    with pytest.raises(LookupError, match="no more rows"):
        prompts_of(rows())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (iter(["What is 2 + 3?"]), 'Row 1 is of type str, not a dict. Give dicts, such as {"prompt"'),
        (["What is 2 + 3?"], 'A list of texts names files. A prompt is a dict, such as {"prompt"'),
        ([{"prompt": "a"}, "b.jsonl"], "Row 2 is of type str, not a dict."),
        ([{"prompt": "a"}, 7], "Row 2 is of type int, not a dict."),
        ({"prompt": "a"}, "The rows are one dict. Give a list of dicts."),
        ([{"prompt": object()}], "Row 1 cannot become JSON: it holds a value of type object."),
        ([{"prompt": "\ud800"}], "Row 1 cannot become JSON: "),
        ([{(1, 2): "a"}], "Row 1 cannot become JSON: "),
        (5, "The rows are of type int."),
        (None, "The rows are of type NoneType."),
        ([], "the list is empty."),
        (pandas.DataFrame({"prompt": []}), "the DataFrame is empty."),
        (pandas.DataFrame({"prompt": ["a", object()]}), "the DataFrame cannot become an Arrow table: "),
        ("nowhere.jsonl", "There is no file nowhere.jsonl."),
    ],
)
def test_what_is_no_row_is_refused_with_what_to_do(rows: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        prompts_of(rows)
    assert said in str(refusal.value)


@pytest.mark.slow
def test_splits_of_a_dataset_are_named() -> None:
    datasets = pytest.importorskip("datasets")
    with pytest.raises(InvalidInput, match=r"splits train, test\. Choose one, such as rows\['train'\]"):
        prompts_of(datasets.DatasetDict(train=dataset(ROWS), test=dataset(ROWS)))
