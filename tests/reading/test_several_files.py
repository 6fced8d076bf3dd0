"""Several files are one job: their order, ids, sources and faults."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions
from jobs.files.sources.source_names import source_names
from jobs.records.prompt import Prompt

JSONL = '{"prompt": "a"}\n\n{"prompt": "b"}\n'
CSV = "id,prompt\nq-1,c\nq-2,d\n"


@pytest.fixture(autouse=True)
def in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(**files: str) -> list[str]:
    """Write `NAME_ENDING=content` to NAME.ENDING, and return the names."""
    for name, content in files.items():
        Path(name.replace("_", ".")).write_text(content)
    return [name.replace("_", ".") for name in files]


def read(*said: str, stdin: str = "", skip_invalid: bool = False, **options: Any) -> list[Prompt]:
    with PromptFile.open(said, io.BytesIO(stdin.encode()), ReadingOptions(**options)) as file:
        return list(file.check(skip_invalid=skip_invalid).prompts())


def refusal(*said: str, **options: Any) -> str:
    with pytest.raises(InvalidInput) as error:
        read(*said, **options)
    return str(error.value)


def test_files_of_any_containers_are_read_in_the_order_given() -> None:
    one, two = write(one_jsonl=JSONL, two_csv=CSV)
    said = [(prompt.index, prompt.text, prompt.source) for prompt in read(two, "-", one, stdin='{"prompt": "in"}')]
    assert said == [(0, "c", two), (1, "d", two), (2, "in", "standard input"), (3, "a", one), (4, "b", one)]


def test_numbers_that_serve_as_ids_run_on_over_the_files() -> None:
    names = write(one_jsonl=JSONL, empty_jsonl="", two_jsonl=JSONL)
    assert [prompt.id for prompt in read(*names)] == ["1", "3", "4", "6"]


def test_a_single_file_gives_no_source() -> None:
    assert [prompt.source for prompt in read(*write(one_jsonl=JSONL))] == [None, None]


def test_an_id_in_two_files_is_refused_with_both_places() -> None:
    write(one_csv=CSV, two_jsonl='{"prompt": "x"}\n{"id": "q-2", "prompt": "y"}\n')
    said = refusal("one.csv", "two.jsonl")
    assert 'line 2 of two.jsonl: the id "q-2" is also the id of line 2 of one.csv' in said
    assert said.startswith("one.csv and 1 more file cannot be submitted: 1 of 4 lines are invalid.")


def test_faults_name_the_lines_of_each_file() -> None:
    bad = '{"prompt": 5}\n'
    names = write(one_jsonl=JSONL + bad, two_jsonl=bad * 3 + JSONL)
    assert "lines 4 of one.jsonl, 1-3 of two.jsonl: `prompt` is 5" in refusal(*names)


def test_a_long_name_is_cut_at_its_beginning() -> None:
    folder = Path("f" * 200)
    folder.mkdir()
    (folder / "bad.jsonl").write_text("{}\n")
    (said,) = re.findall(r"line 1 of (\S+):", refusal(*write(one_jsonl=JSONL), f"{folder}/bad.jsonl"))
    assert (said[0], said[-10:], len(said)) == ("…", "/bad.jsonl", 60)


def test_a_bad_line_without_an_id_keeps_its_number_in_its_file() -> None:
    names = write(one_jsonl=JSONL, two_jsonl=JSONL + '{"prompt": 5}\n')
    bad = read(*names, skip_invalid=True)[-1]
    assert (bad.line, bad.source, bad.index) == (4, "two.jsonl", 4)


def test_files_of_two_formats_are_refused_by_name() -> None:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x"}}
    said = refusal(*write(one_jsonl=JSONL, two_jsonl=json.dumps(line)))
    assert "line 1 of two.jsonl: the line is in the OpenAI Batch format" in said
    assert "the first line of one.jsonl is in the native format; the files of a job must use one format" in said


def test_one_template_makes_the_prompts_of_all_files() -> None:
    names = write(one_csv="word\nred\n", two_jsonl='{"word": "blue"}\n')
    prompts = read(*names, prompts=PromptOptions(template="Say {{ word }}.", raw=True))
    assert [prompt.text for prompt in prompts] == ["Say red.", "Say blue."]


def test_the_file_that_changed_after_the_check_is_named() -> None:
    names = write(one_jsonl=JSONL, two_jsonl=JSONL, three_jsonl=JSONL)
    with PromptFile.open(names, io.BytesIO()) as file:
        checked = file.check()
        write(two_jsonl=JSONL.replace("b", "c"))
        with pytest.raises(InvalidInput, match=r"^two\.jsonl changed while it was being read"):
            list(checked.prompts())


def test_the_same_rows_in_other_files_are_another_submission() -> None:
    write(one_jsonl=JSONL, two_jsonl=JSONL, rest_jsonl='{"id": "r", "prompt": "r"}')

    def digest(*names: str) -> str:
        with PromptFile.open(names, io.BytesIO()) as file:
            return file.check().report.digest

    assert len({digest("one.jsonl"), digest("two.jsonl")}) == 1
    orders = [("one.jsonl", "rest.jsonl"), ("two.jsonl", "rest.jsonl"), ("rest.jsonl", "one.jsonl")]
    assert len({digest(*names) for names in orders}) == 3


def test_a_pattern_stands_for_its_files_in_the_order_of_their_names() -> None:
    Path("more/deep").mkdir(parents=True)
    for name in ("b.csv", "a.csv", ".hidden.csv", "c.txt", "deep/d.csv"):
        (Path("more") / name).touch()
    assert source_names(["z.csv", "more/*.csv"]) == ["z.csv", "more/a.csv", "more/b.csv"]
    assert source_names(["more/**/*.csv"]) == ["more/a.csv", "more/b.csv", "more/deep/d.csv"]
    assert source_names([str(Path.cwd() / "more" / "[b-c].*")])[0].endswith("/more/b.csv")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file() -> None:
    Path("a[1].jsonl").touch()
    Path("a1.jsonl").touch()
    assert source_names(["a[1].jsonl"]) == ["a[1].jsonl"]


def test_a_pattern_that_matches_no_file_is_refused() -> None:
    Path("folder.csv").mkdir()
    assert refusal("*.csv").startswith("No file matches *.csv. The pattern is read in /")


def test_a_folder_among_the_files_is_refused_with_a_pattern_to_use() -> None:
    Path("folder").mkdir()
    assert refusal(*write(one_jsonl=JSONL), "folder").startswith("folder is a directory, not a file of prompts.")
    assert "Name the files in it, such as 'folder/*.jsonl'." in refusal("folder/")


@pytest.mark.parametrize("said", [("a.csv", "a.csv"), ("a.csv", "./a.csv"), ("a.csv", "link.csv"), ("a.csv", "*.csv")])
def test_a_file_that_is_named_twice_is_refused(said: tuple[str, str]) -> None:
    Path("a.csv").touch()
    if said[1] == "link.csv":
        os.link("a.csv", "link.csv")
    assert re.search(r"^a\.csv (is named twice|and .* are one file)\. Name each file once\.$", refusal(*said))


def test_standard_input_counts_once() -> None:
    assert refusal("-", "-") == "- is named twice. Name each file once."
