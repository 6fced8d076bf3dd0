"""Options of other tools, and forgotten arguments: the refusal says what to write here."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import click
import pytest

from cli import option_advice
from cli.main import group
from cli.option_advice import described
from tests.cli.conftest import Cli


def refusal(*words: str) -> list[str]:
    """The lines after the usage."""
    with pytest.raises(click.ClickException) as caught:
        group.main(list(words), prog_name="qwen-batch", standalone_mode=False)
    return described(caught.value).partition("Error: ")[2].splitlines()


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("run a.csv --prompt-column text", ["No such option '--prompt-column'.", "Write --template '{{ COLUMN }}'."]),
        ("run a.csv --max_tokens 3", ["No such option '--max_tokens'.", "Write --max-tokens, with hyphens."]),
        ("worker --enforce_eager", ["No such option '--enforce_eager'.", "Write --no-compile."]),
        (
            "submit --input a.csv",
            ["No such option '--input'.", "Write the file without an option: qwen-batch submit prompts.jsonl."],
        ),
        ("workers --batch-size 3", ["No such option '--batch-size'."]),
        ("list --input a.csv", ["No such option '--input'."]),
        ("run a.csv --skip-invlid", ["No such option '--skip-invlid'. Did you mean '--skip-invalid'?"]),
        ("cancel", ["Missing argument 'JOB'.", "List the jobs with `qwen-batch list`."]),
        ("run a.csv --tempalte x", ["No such option '--tempalte'. Did you mean '--template'?"]),
        ("extend 1a2b", ["Missing argument 'PROMPTS...'.", "To read standard input, say qwen-batch extend JOB -."]),
        ("run", ["Missing argument 'PROMPTS...'.", "To read standard input, say qwen-batch run -."]),
    ],
)
def test_a_refusal_says_what_to_write_if_the_command_has_it(words: str, lines: list[str]) -> None:
    assert refusal(*words.split()) == lines


def test_missing_prompts_at_a_terminal_are_not_advised_to_come_from_standard_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main, terminal = pty.openpty()
    with os.fdopen(main, "rb"), os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert refusal("run") == ["Missing argument 'PROMPTS...'."]


def test_all_advice_names_options_that_exist_and_no_option_that_exists_is_advised_against() -> None:
    context = click.Context(group)
    commands = [group.get_command(context, name) for name in group.list_commands(context)]
    options = {option for command in commands if command for param in command.params for option in param.opts}
    assert {option for option, _ in option_advice._SAME_HERE.values()} <= options
    run = group.get_command(context, "run")
    assert run is not None
    assert not {option for param in run.params for option in param.opts} & set(option_advice._SAME_HERE)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("run a.csv out.csv", "To write the results to it, say -o out.csv."),
        ("submit a.csv out.csv", "To write the results to it, say --wait -o out.csv."),
        ("submit a.csv out.csv --wait", "To write the results to it, say -o out.csv."),
        ("run a.csv out.csv -o x.csv", "Did you mean a.csv?"),
        ("run b.csv out.csv", "Did you mean a.csv?"),
        ("check a.csv b.csv", "Did you mean a.csv?"),
    ],
)
def test_a_last_file_that_is_missing_may_be_meant_for_the_results(
    cli: Cli, tmp_path: Path, words: str, advice: str
) -> None:
    (tmp_path / "a.csv").write_text("id,prompt\n1,Hello\n")
    done = cli(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    missing, hint = done.stderr.splitlines()
    assert missing.startswith("Error: There is no file ")
    assert hint == advice
