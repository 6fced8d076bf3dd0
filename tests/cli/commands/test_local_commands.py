"""The commands that load a model in their own process: generate, tokenize, bench."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

QUESTION = "What is 37 + 48?"


def test_generate_writes_the_text_and_nothing_else_to_stdout(bare_cli: Cli) -> None:
    done = bare_cli("generate", QUESTION, "--chat", "--no-compile")
    assert (done.returncode, done.stdout) == (0, "85\n"), done.stderr
    said = done.stderr.splitlines()
    assert said[:2] == [
        "Using the built-in demo model, a toy. A real one: --model Qwen/Qwen3-0.6B",
        "Loading the model …",
    ]
    assert "tokens/s; loaded in" in said[-1]


def test_a_prompt_may_come_from_standard_input(bare_cli: Cli) -> None:
    done = bare_cli("generate", "-", "--chat", "--no-compile", "-q", stdin=f"{QUESTION}\n")
    assert (done.returncode, done.stdout) == (0, "85\n"), done.stderr
    assert bare_cli("tokenize", "-", stdin=f"{QUESTION}\r\n").stdout == bare_cli("tokenize", QUESTION).stdout


def test_a_prompt_from_standard_input_must_be_utf_8(bare_cli: Cli) -> None:
    done = bare_cli("tokenize", "-", stdin=b"caf\xe9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Standard input is not UTF-8: byte 4 is wrong." in done.stderr


@pytest.mark.slow
def test_generate_says_the_same_whole_or_in_pieces_with_cache_or_without(bare_cli: Cli) -> None:
    words = ["generate", "The capital of France is", "--no-compile", "-q", "--max-tokens", "12", "--ignore-eos"]
    texts = {bare_cli(*words, *more).stdout for more in ([], ["--no-stream"], ["--no-cache"])}
    (text,) = texts
    assert text.startswith(" Paris")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([""], "it must have 1 to 2,047"),
        (["Hi", "--no-cache", "--temperature", "1"], "cannot be combined with --temperature 1"),
        (["Hi", "--max-tokens", "0"], "it must be from 1 to"),
    ],
)
def test_generate_refuses_what_it_cannot_do(bare_cli: Cli, words: list[str], reason: str) -> None:
    done = bare_cli("generate", *words, "--no-compile")
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_generate_needs_a_chat_template_for_a_chat(bare_cli: Cli, tiny_model: Path) -> None:
    done = bare_cli("generate", "Hi", "--chat", "--no-compile", "--model", tiny_model)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no chat template" in done.stderr


def test_tokenize_shows_ids_beside_harmless_text(bare_cli: Cli) -> None:
    text = "Hi\n\x1b[31m"
    people, script = bare_cli("tokenize", text), bare_cli("tokenize", text, "--json")
    tokens = json.loads(script.stdout)
    assert "".join(token["text"] for token in tokens) == text
    lines = people.stdout.splitlines()
    assert [line.split("]")[0] for line in lines] == [f"[{token['id']}" for token in tokens]
    assert r"--> \n" in people.stdout
    assert "\x1b" not in people.stdout


@pytest.mark.slow
def test_bench_reports_every_mode_and_the_batch(bare_cli: Cli, tiny_model: Path) -> None:
    words = ["--runs", "1", "--tokens", "4", "--requests", "4", "--no-compile", "--model", tiny_model]
    done = bare_cli("bench", "--json", *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["mode"] for row in report["table"]] == ["regular", "regular compiled", "KV cache", "KV cache compiled"]
    assert [row["tokens_per_second"] is None for row in report["table"]] == [False, True, False, True]
    assert report["batch"]["requests"] == 4
    assert report["batch"]["output_tokens"] > 0
    assert report["limits"] is None  # of a model in float32 they say nothing
