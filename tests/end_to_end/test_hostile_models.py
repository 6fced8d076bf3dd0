"""Model folders that attack: each command that meets one says what is wrong in one line, or does its work."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.records.model_card import builtin_demo_folder
from testing.processes.command_line import environment, qwen_batch, read_jsonl, write_jsonl

Change = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
HUGE = "{% set ns = namespace(v='ab') %}{% for i in range(29) %}{% set ns.v = ns.v ~ ns.v %}{% endfor %}"
TEMPLATE = (
    "{% set said = messages[0].content %}"
    "{% if said == 'endless' %}" + ENDLESS + "{% elif said == 'huge' %}" + HUGE + "{% endif %}{{ said }}"
)


@pytest.fixture
def change(tmp_path: Path) -> Change:
    """Makes a copy of the demo model in which some fields of a JSON file are others."""

    def changed(file: str, **fields: Any) -> Path:
        folder = shutil.copytree(builtin_demo_folder(), tmp_path / "hostile")
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        return folder

    return changed


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command to its end."""
    return lambda *words: qwen_batch(*words, env=environment(tmp_path / "state"))


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "Hello"}])


def test_a_template_that_attacks_fails_the_lines_on_which_it_does_by_name(
    run: Run, tmp_path: Path, change: Change
) -> None:
    contents = ["a", "endless", "b", "huge", "c"]
    lines = [{"messages": [{"role": "user", "content": text}], "max_tokens": 1} for text in contents]
    prompts, output = write_jsonl(tmp_path / "chats.jsonl", lines), tmp_path / "results.jsonl"
    model = change("tokenizer_config.json", chat_template=TEMPLATE)
    done = run("run", prompts, "-o", output, "--model", model, "--no-compile", "--kv-cache-memory", "4MiB")
    assert done.returncode == 1, done.stderr
    errors = [line["error"] and line["error"]["message"] for line in read_jsonl(output)]
    assert [error is None for error in errors] == [True, False, True, False, True]
    assert "it ran for more than 2 s" in errors[1]
    assert "it took more than 64 MiB of memory" in errors[3]


def test_tokenize_refuses_a_tokenizer_that_would_not_end(run: Run, change: Change) -> None:
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    done = run("tokenize", "Hello", "--model", change("tokenizer.json", pre_tokenizer=pattern))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert "retry-limit-in-match over" in done.stderr


@pytest.mark.parametrize("value", [10**9, 2**63 - 1, 10**4_000], ids=["10^9", "2^63-1", "10^4000"])
def test_a_context_that_no_model_has_is_refused_before_anything_starts(
    run: Run, prompts: Path, change: Change, value: int
) -> None:
    done = run("run", prompts, "--model", change("config.json", max_position_embeddings=value))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert "config.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_ten_million_layers_are_refused_by_name(run: Run, change: Change) -> None:
    done = run("generate", "Hello", "--model", change("config.json", num_hidden_layers=10**7), "--no-compile")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("Error: ") == 1
    assert "num_hidden_layers is 10000000; it must be a whole number from 1 to 1,000" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_longest_context_that_is_allowed_takes_memory_for_what_is_used_alone(run: Run, change: Change) -> None:
    model = change("config.json", max_position_embeddings=100_000_000)
    words = ["--max-tokens", "2", "--no-compile", "--kv-cache-memory", "4MiB"]
    done = run("generate", "Hello", "--model", model, *words)
    assert done.returncode == 0, done.stderr
