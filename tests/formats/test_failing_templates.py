"""A template that fails on every row is refused early."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions


def test_a_template_that_fails_on_each_of_the_first_rows_is_refused_before_the_others_are_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("text\n" + "a\n" * 1_000 + '"an open quote')
    options = ReadingOptions(prompts=PromptOptions(template="{{ txt }}"))
    with PromptFile.open(str(path), io.BytesIO(), options) as file, pytest.raises(InvalidInput) as refused:
        file.check()
    assert str(refused.value) == (
        f"{path} cannot be submitted: the first 100 lines are invalid, and no others were read.\n"
        "  lines 1-100: the template fails: 'txt' is undefined; the row's columns are `text`\n"
        "Nothing was stored. Correct the template or the file."
    )


@pytest.mark.parametrize(("content", "skip_invalid"), [("text\n" + "a\n" * 200, True), ("text\n" + "a\n" * 99, False)])
def test_other_rows_count_too_where_bad_ones_are_skipped_or_few(
    tmp_path: Path, content: str, skip_invalid: bool
) -> None:
    path = tmp_path / "data.csv"
    path.write_text(content)
    options = ReadingOptions(prompts=PromptOptions(template="{{ txt }}"))
    with (
        PromptFile.open(str(path), io.BytesIO(), options) as file,
        pytest.raises(InvalidInput, match="invalid") as refused,
    ):
        file.check(skip_invalid=skip_invalid)
    assert "no others were read" not in str(refused.value)
