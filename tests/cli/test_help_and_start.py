"""Help, the reference page, and how fast and light the client commands start."""

from __future__ import annotations

import importlib.util
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import group
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess
from tests.cli.acting_worker import run_job
from tests.cli.conftest import Cli

REPOSITORY = Path(__file__).resolve().parents[2]
CONTEXT = click.Context(group, info_name="qwen-batch")
COMMANDS = group.list_commands(CONTEXT)
HEAVY = ("torch", "engine", "model", "worker", "numpy", "transformers", "server", "starlette", "uvicorn")


def test_every_file_of_commands_is_a_command_of_its_name() -> None:
    files = {path.stem for path in (REPOSITORY / "cli" / "commands").rglob("*.py")} - {"__init__"}
    assert files == set(COMMANDS)
    assert [name for name in COMMANDS if getattr(group.get_command(CONTEXT, name), "name", None) != name] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples_in_80_columns(name: str) -> None:
    done = CliRunner().invoke(group, [name, "--help"], terminal_width=80)
    assert done.exit_code == 0
    assert "Examples:" in done.output
    assert f"  qwen-batch {name}" in done.output
    assert [line for line in done.output.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_has_help(name: str) -> None:
    command = group.get_command(CONTEXT, name)
    assert command is not None
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []


def test_the_help_lists_every_command_with_a_whole_sentence(bare_cli: Cli) -> None:
    shown = bare_cli("--help").stdout
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S.*\.$", shown, re.MULTILINE), name


def test_the_reference_page_is_up_to_date() -> None:
    path = REPOSITORY / "tools" / "make_cli_reference.py"
    spec = importlib.util.spec_from_file_location("make_cli_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.TARGET.read_text()
    assert page == module.reference(), "run `make reference`"
    assert [name for name in COMMANDS if f"## qwen-batch {name}\n" not in page] == []


def test_the_word_help_shows_the_help_of_the_program_or_of_a_command(bare_cli: Cli) -> None:
    assert bare_cli("help").stdout == bare_cli("--help").stdout
    asked = bare_cli("help", "cancel")
    assert (asked.returncode, asked.stdout) == (0, bare_cli("cancel", "--help").stdout)
    assert bare_cli("help", "no-command").returncode == 2


def test_an_unknown_command_is_a_usage_error_that_names_the_nearest(bare_cli: Cli) -> None:
    done = bare_cli("submti")
    assert done.returncode == 2
    assert "No such command 'submti'. Did you mean 'submit'?" in done.stderr
    assert "No such command 'xyz'." in bare_cli("xyz").stderr


def test_the_version_is_shown(bare_cli: Cli) -> None:
    assert re.fullmatch(r"qwen-batch \d+\.\d+\.\d+\n", bare_cli("--version").stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_prints_a_script(bare_cli: Cli, shell: str) -> None:
    done = bare_cli(env={"_QWEN_BATCH_COMPLETE": f"{shell}_source"})
    assert (done.returncode, "_QWEN_BATCH_COMPLETE" in done.stdout) == (0, True), done.stderr


def imported_by(words: list[str], environment: dict[str, str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-P", "-m", "cli.main", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("command", ["status", "watch", "results", "submit"])
def test_client_commands_import_no_torch(
    cli: Cli, store: JobStore, valkey: ValkeyProcess, environment: dict[str, str], prompts: Path, command: str
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    words = [str(prompts)] if command == "submit" else [job_id]
    imported = imported_by([command, *words], environment | {"QWEN_BATCH_REDIS_URL": valkey.url})
    assert "jobs.stores.redis.store" in imported
    assert {name for name in imported if name.split(".")[0] in HEAVY} == set()
    if command != "submit":
        assert "celery" not in imported


def test_tokenize_imports_no_torch(environment: dict[str, str]) -> None:
    imported = imported_by(["tokenize", "Hello"], environment)
    assert "model.text.tokenizer" in imported
    assert {name for name in imported if name.split(".")[0] in {"torch", "engine", "numpy"}} == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate", "Hi", "--max-tokens", "0"], {}),
        (["generate", "Hi", "--no-cache", "--temperature", "1"], {}),
        (["bench"], {"QWEN_BATCH_THREADS": "two"}),
    ],
)
def test_bad_options_are_refused_before_torch_is_imported(
    environment: dict[str, str], words: list[str], said: dict[str, str]
) -> None:
    imported = imported_by(words, environment | said)
    assert "cli.options.worker_options" in imported
    assert "torch" not in imported


def processor_seconds_of_children() -> float:
    """Time that ended child processes have computed, which other processes beside them hardly change."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_status_starts_fast(
    cli: Cli, store: JobStore, prompts: Path, record_property: Callable[[str, object], None]
) -> None:
    job_id = cli("submit", prompts).stdout.strip()
    run_job(store, job_id)
    times = []
    for _ in range(5):
        before = processor_seconds_of_children()
        assert cli("status", job_id).returncode == 0
        times.append(processor_seconds_of_children() - before)
    record_property("processor seconds", min(times))
    assert min(times) < 1.5  # 0.3 s alone on its core
