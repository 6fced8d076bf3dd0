"""With a limit, a job has the first rows of its files. Rows behind them are neither read nor checked."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.files.formats.line_decoder import LineRules
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions
from tests.reading.containers import CONTAINERS, Rows, text_file

ROWS = [{"id": f"q-{number}", "prompt": f"What is {number} + 2?"} for number in range(600)]


def ids_of(*paths: Path, limit: int | None, prompts: PromptOptions = PromptOptions()) -> list[str]:  # noqa: B008 - frozen
    """Ids of a checked file's prompts."""
    options = ReadingOptions(prompts=prompts, limit=limit)
    with PromptFile.open([str(path) for path in paths], io.BytesIO(), options) as file:
        checked = file.check(LineRules())
        ids = [prompt.id for prompt in checked.prompts()]
        assert checked.report.num_lines == len(ids)
        return ids


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_limit_gives_the_first_rows_of_every_container(container: Callable[[Rows], bytes], tmp_path: Path) -> None:
    path = tmp_path / f"rows.{'txt' if container is text_file else 'data'}"
    path.write_bytes(container(ROWS))
    everything = ids_of(path, limit=None)
    for limit in (1, 2, 599, 600, 601):
        assert ids_of(path, limit=limit) == everything[:limit]


def test_a_limit_counts_the_rows_of_all_files(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.csv").write_text(f"id,prompt\n{name}-1,Hi\n{name}-2,Hi\n")
    files = [tmp_path / f"{name}.csv" for name in ("a", "b", "c")]
    assert ids_of(*files, limit=3) == ["a-1", "a-2", "b-1"]
    assert ids_of(*files, limit=4) == ["a-1", "a-2", "b-1", "b-2"]


def test_rows_behind_the_limit_may_be_bad_and_may_change(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "good"}\n{"prompt": 5}\n')
    with PromptFile.open(str(path), io.BytesIO(), ReadingOptions(limit=1)) as file:
        checked = file.check()
        path.write_text('{"prompt": "good"}\n{"prompt": 6}\n{}\n')
        assert [prompt.text for prompt in checked.prompts()] == ["good"]


def test_a_template_renders_no_row_behind_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,number\n" + "".join(f"{number},{5 - number}\n" for number in range(6)))
    assert ids_of(path, limit=5, prompts=PromptOptions("{{ 1 // (number | int) }}")) == ["0", "1", "2", "3", "4"]


def test_equal_first_rows_are_the_same_submission(tmp_path: Path) -> None:
    digests = set()
    for more in ("", '{"prompt": "c"}\n'):
        path = tmp_path / "rows.jsonl"
        path.write_text('{"prompt": "a"}\n{"prompt": "b"}\n' + more)
        with PromptFile.open(str(path), io.BytesIO(), ReadingOptions(limit=2)) as file:
            digests.add(file.check().report.digest)
    assert len(digests) == 1
