"""Model folders that cannot be used: each command that meets one says why, and no job of it stays in the store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import keys
from testing.processes.valkey import ValkeyProcess
from tests.cli.conftest import Cli


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def another_architecture(folder: Path) -> None:
    change_config(folder, model_type="llama", architectures=["LlamaForCausalLM"])


def of_a_later_family(folder: Path) -> None:
    change_config(folder, model_type="qwen3_next", architectures=["Qwen3NextForCausalLM"], num_experts=8)


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def with_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def with_too_many_layers(folder: Path) -> None:
    change_config(folder, num_hidden_layers=10_000_000)


def with_a_sliding_window(folder: Path) -> None:
    change_config(folder, use_sliding_window=True)


Damage = Callable[[Path], None]
NO_WORKER_CAN_LOAD: dict[Damage, str] = {  # found by every command, from the small files
    another_architecture: "model_type is 'llama'",
    of_a_later_family: "model_type is 'qwen3_next'; only 'qwen3' and 'qwen3_moe' are supported",
    without_config: "config.json",
    with_a_damaged_tokenizer: "tokenizer.json",
}
BAD_SETTINGS: dict[Damage, str] = {
    with_too_many_layers: "num_hidden_layers is 10000000; it must be a whole number from 1 to 1,000.",
    with_a_sliding_window: "use_sliding_window is true",
}
WEIGHTS: dict[Damage, str] = {without_weights: "lacks model.safetensors", truncated: "model.safetensors is damaged"}


@pytest.fixture
def damaged(tiny_model: Path, tmp_path: Path) -> Callable[[Damage], Path]:
    """Makes a copy of a good model, and damages it."""

    def make(damage: Damage) -> Path:
        folder = shutil.copytree(tiny_model, tmp_path / "damaged")
        damage(folder)
        return folder

    return make


def left_in(valkey: ValkeyProcess) -> list[bytes]:
    """The store's keys but its format's number and the notifications, which expire after seconds.

    Celery's are not ours: it remembers a queue that was used.
    """
    with valkey.client() as client:
        kept = [key for key in client.scan_iter("qwen-batch:*") if not key.startswith(keys.notification("").encode())]
        return [key for key in kept if key != keys.FORMAT.encode()]


@pytest.mark.parametrize("command", ["submit", "run"])
@pytest.mark.parametrize("damage", NO_WORKER_CAN_LOAD)
def test_a_folder_that_no_worker_can_load_is_refused_before_anything_starts(
    cli: Cli, valkey: ValkeyProcess, prompts: Path, damaged: Callable[[Damage], Path], damage: Damage, command: str
) -> None:
    done = cli(command, prompts, "--model", damaged(damage))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert NO_WORKER_CAN_LOAD[damage] in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("damage", BAD_SETTINGS)
def test_run_refuses_settings_that_no_worker_can_use_before_it_starts_one(
    cli: Cli, valkey: ValkeyProcess, prompts: Path, damaged: Callable[[Damage], Path], damage: Damage
) -> None:
    done = cli("run", prompts, "--model", damaged(damage))
    assert (done.returncode, done.stdout) == (2, "")
    assert BAD_SETTINGS[damage] in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0


def test_a_name_that_lacks_the_organisation_is_answered_with_the_hub_id_before_anything_starts(
    cli: Cli, valkey: ValkeyProcess, prompts: Path
) -> None:
    done = cli("run", prompts, "--model", "Qwen3-0.6B")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: There is no model 'Qwen3-0.6B': it is no folder, no file and no hub id.\n"
        "Did you mean Qwen/Qwen3-0.6B? Name a folder that holds a model, a GGUF file, a hub id such as "
        "Qwen/Qwen3-0.6B, or demo.\n"
    )
    with valkey.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("damage", WEIGHTS)
def test_bad_weights_end_run_with_the_workers_words_and_no_job(
    cli: Cli, valkey: ValkeyProcess, prompts: Path, damaged: Callable[[Damage], Path], damage: Damage
) -> None:
    done = cli("run", prompts, "--model", damaged(damage), "--no-compile")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert WEIGHTS[damage] in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(valkey) == []


@pytest.mark.parametrize(
    "damage",
    [without_weights, *(pytest.param(it, marks=pytest.mark.slow) for it in (truncated, another_architecture))],
)
def test_a_worker_of_a_bad_model_ends_with_one_message(
    cli: Cli, valkey: ValkeyProcess, damaged: Callable[[Damage], Path], damage: Damage
) -> None:
    done = cli("worker", "--model", damaged(damage), "--no-compile")
    assert (done.returncode, done.stdout) == (2, "")
    assert (WEIGHTS | NO_WORKER_CAN_LOAD)[damage] in done.stderr
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0


def test_messages_for_a_model_without_a_chat_template_are_refused(
    cli: Cli, valkey: ValkeyProcess, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text('{"prompt": "Hello"}\n{"messages": [{"role": "user", "content": "Hello"}]}\n')
    done = cli("submit", path, "--model", tiny_model)
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 2: `messages` need a chat template" in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0
