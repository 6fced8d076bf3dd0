"""What a person may get wrong: each ends with exit code 2, says what to do, and leaves nothing in the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testing.processes.valkey import ValkeyProcess
from tests.cli.conftest import Cli

GOOD = '{"prompt": "Hello"}'
CHAT = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
MESSAGES = [{"role": "user", "content": "Hello"}]


def openai_line(**body: object) -> str:
    return json.dumps(CHAT | {"body": {"model": "demo", "messages": MESSAGES} | body})


BAD_FILES = {
    "empty": ("", "empty"),
    "blank": ("\n\n", "empty"),
    "one bad JSON line": (f"{GOOD}\n{{oops\n{GOOD}\n", "line 2:"),
    "duplicate ids": ('{"id": "x", "prompt": "a"}\n{"id": "x", "prompt": "b"}\n', "line 2:"),
    "prompt and messages": (json.dumps({"prompt": "a", "messages": MESSAGES}), "messages"),
    "unknown key": ('{"prompt": "a", "temprature": 1}', "temperature"),
    "negative temperature": ('{"prompt": "a", "temperature": -1}', "-1"),
    "wordy temperature": ('{"prompt": "a", "temperature": "hot"}', "temperature"),
    "no tokens": ('{"prompt": "a", "max_tokens": 0}', "max_tokens"),
    "stream": (openai_line(stream=True), "stream"),
    "unsupported field": (openai_line(modalities=["audio"]), "modalities"),
    "token id outside the vocabulary": ('{"prompt": [1, 99999999]}', "99,999,999"),
    "another model": (openai_line(model="gpt-4o"), "gpt-4o"),
    "ten thousand brackets": ('{"prompt": ' + "[" * 10_000 + "]" * 10_000 + "}", "line 1:"),
}


def dbsize(valkey: ValkeyProcess) -> int:
    with valkey.client() as client:
        return int(client.dbsize())


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_its_reason(cli: Cli, valkey: ValkeyProcess, tmp_path: Path, name: str) -> None:
    text, reason = BAD_FILES[name]
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    done = cli("submit", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert dbsize(valkey) == 0


def test_a_file_that_is_not_utf8_is_refused(cli: Cli, valkey: ValkeyProcess) -> None:
    done = cli("submit", "-", stdin=b'{"prompt": "caf\xe9"}\n')
    assert done.returncode == 2
    assert "UTF-8" in done.stderr
    assert dbsize(valkey) == 0


def test_a_line_of_50_megabytes_is_refused(cli: Cli, valkey: ValkeyProcess) -> None:
    done = cli("submit", "-", stdin=b'{"prompt": "' + b"x" * (50 * 2**20) + b'"}\n' + GOOD.encode())
    assert done.returncode == 2
    assert "line 1:" in done.stderr
    assert len(done.stderr) < 2000
    assert dbsize(valkey) == 0


def test_a_missing_file_and_a_directory_are_refused(cli: Cli, valkey: ValkeyProcess, tmp_path: Path) -> None:
    missing, folder = cli("submit", tmp_path / "missing.jsonl"), cli("submit", tmp_path)
    assert (missing.returncode, folder.returncode) == (2, 2)
    assert "no file" in missing.stderr
    assert "directory" in folder.stderr
    assert dbsize(valkey) == 0


def test_all_bad_lines_are_reported_with_their_numbers(cli: Cli, valkey: ValkeyProcess, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    bad = '{"prompt": %d}'
    path.write_text("".join(f"{bad % number if number % 2 else GOOD}\n" for number in range(1, 101)))
    said = cli("submit", path).stderr
    assert said.count(": ") >= 20
    assert all(f"line {number}:" in said for number in range(1, 40, 2))
    assert "other faults of 30 lines: 41, 43, 45, 47, 49 and 25 more" in said
    assert dbsize(valkey) == 0


def test_skip_invalid_runs_the_good_lines(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text(f"{GOOD}\noops\n")
    assert cli("submit", path).returncode == 2
    done = cli("submit", path, "--skip-invalid")
    assert done.returncode == 0
    assert json.loads(cli("status", done.stdout.strip(), "--json").stdout)["total"] == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--temperature", "-1"], "from 0 to 10"),
        (["--temperature", "hot"], "hot"),
        (["--max-tokens", "0"], "from 1 to"),
        (["--top-p", "nan"], "above 0"),
        (["--seed", "-1"], "seed"),
        (["--stop", ""], "stop"),
        (["--tempratur", "1"], "--temperature"),
        (["-o", "x.jsonl"], "--wait"),
        (["-q", "-v"], "cannot be used together"),
    ],
)
def test_a_bad_option_is_refused_with_its_range(
    cli: Cli, valkey: ValkeyProcess, prompts: Path, words: list[str], reason: str
) -> None:
    done = cli("submit", prompts, *words)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert dbsize(valkey) == 0


def test_a_model_folder_without_a_model_is_refused(
    cli: Cli, valkey: ValkeyProcess, prompts: Path, tmp_path: Path
) -> None:
    done = cli("submit", prompts, "--model", tmp_path / "home")
    assert done.returncode == 2
    assert "config.json" in done.stderr
    assert dbsize(valkey) == 0


def test_a_bad_variable_in_the_environment_is_named(cli: Cli) -> None:
    unknown = cli("list", env={"QWEN_BATCH_REDIS_ULR": "redis://localhost"})
    assert (unknown.returncode, "QWEN_BATCH_REDIS_ULR" in unknown.stderr) == (2, True)
    wrong = cli("list", env={"QWEN_BATCH_THREADS": "many"})
    assert (wrong.returncode, "QWEN_BATCH_THREADS is 'many'" in wrong.stderr) == (2, True)


def test_run_finds_a_bad_file_before_it_starts_anything(bare_cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("oops\n")
    done = bare_cli("run", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 1:" in done.stderr
    assert not (tmp_path / "home" / "state").exists()


def test_run_finds_an_output_path_that_cannot_be_written_before_it_starts_anything(
    bare_cli: Cli, prompts: Path, tmp_path: Path
) -> None:
    done = bare_cli("run", prompts, "-o", "missing-folder/out.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert "missing-folder/out.jsonl cannot be written" in done.stderr
    assert not (tmp_path / "home" / "state").exists()
