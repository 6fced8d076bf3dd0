"""What is read from a checkpoint folder without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import ModelUnusable
from jobs.records.model_card import ModelCard, card_of_folder
from jobs.records.sampling import SamplingSettings

CONFIG = {"vocab_size": 64, "max_position_embeddings": 2048, "model_type": "qwen3"}
TOKENIZER = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 9, "content": "<|e|>"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The least that a model folder needs."""
    put(tmp_path, "config.json", CONFIG)
    put(tmp_path, "tokenizer.json", TOKENIZER)
    return tmp_path


def put(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content))


def test_the_least_folder_has_a_card(folder: Path) -> None:
    assert card_of_folder(folder, "m") == ModelCard("m", vocab_size=10, max_model_len=2048, has_chat_template=False)


def test_ids_end_with_the_embedding_if_the_tokenizer_has_more(folder: Path) -> None:
    put(folder, "config.json", CONFIG | {"vocab_size": 8})
    assert card_of_folder(folder, "m").vocab_size == 8


@pytest.mark.parametrize(
    ("rope", "tokens"),
    [
        ({"rope_scaling": None}, 2048),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, 2048),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}}, 4096),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, 4096),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 1.5, "original_max_position_embeddings": 1024}}, 2048),
    ],
)
def test_yarn_stretches_the_context(folder: Path, rope: dict[str, Any], tokens: int) -> None:
    put(folder, "config.json", CONFIG | rope)
    assert card_of_folder(folder, "m").max_model_len == tokens


@pytest.mark.parametrize("template", ["{{ messages }}", [{"name": "default", "template": "x"}]])
def test_a_chat_template_may_stand_in_the_tokenizers_config(folder: Path, template: object) -> None:
    put(folder, "tokenizer_config.json", {"chat_template": template})
    assert card_of_folder(folder, "m").has_chat_template


def test_a_chat_template_may_stand_in_a_file_of_its_own(folder: Path) -> None:
    put(folder, "tokenizer_config.json", {"eos_token": "x"})
    assert not card_of_folder(folder, "m").has_chat_template
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert card_of_folder(folder, "m").has_chat_template


@pytest.mark.parametrize(
    ("said", "defaults"),
    [
        ({"do_sample": True, "temperature": 0.6, "top_k": 20}, {"temperature": 0.6, "top_k": 20}),
        (
            {"top_p": 0.8, "min_p": 0.1, "repetition_penalty": 1.05},
            {"top_p": 0.8, "min_p": 0.1, "repetition_penalty": 1.05},
        ),
        ({"do_sample": False, "temperature": 0.6, "top_k": 20}, {"temperature": 0.0}),
        ({"temperature": 0, "top_k": 20}, {"temperature": 0.0}),
        ({"do_sample": False, "repetition_penalty": 1.1}, {"temperature": 0.0, "repetition_penalty": 1.1}),
        ({"eos_token_id": [1, 2], "max_new_tokens": 2048}, {}),
    ],
)
def test_the_models_own_sampling_is_the_default(folder: Path, said: dict[str, Any], defaults: dict[str, Any]) -> None:
    put(folder, "generation_config.json", said)
    assert card_of_folder(folder, "m").defaults == SamplingSettings(**defaults)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelUnusable, match=f"There is no {name} in {folder}"):
        card_of_folder(folder, "m")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b"\xff"),
        ("config.json", b'{"vocab_size": "many", "max_position_embeddings": 1}'),
        ("config.json", b"[" * 10_000),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b'{"model": {"vocab": [["a", -1.5]]}}'),
        ("tokenizer_config.json", b'{"chat_template": 5}'),
        ("generation_config.json", b'{"temperature": "hot"}'),
        ("generation_config.json", b'{"temperature": -1}'),
    ],
)
def test_a_damaged_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModelUnusable, match=name):
        card_of_folder(folder, "m")


def test_qwen3s_own_tokenizer_has_151669_ids_and_a_template(folder: Path, qwen3_tokenizer_folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(qwen3_tokenizer_folder / name)
    put(folder, "config.json", {"vocab_size": 151_936, "max_position_embeddings": 40_960})
    card = card_of_folder(folder, "Qwen/Qwen3-0.6B")
    assert (card.vocab_size, card.max_model_len, card.has_chat_template) == (151_669, 40_960, True)


def test_the_built_in_demo_model_is_found_without_importing_the_model_package() -> None:
    code = (
        "import sys\n"
        "from jobs.errors import ModelUnusable\n"
        "from jobs.records.model_card import builtin_demo_folder\n"
        "try:\n"
        "    print(builtin_demo_folder())\n"
        "except ModelUnusable as error:\n"
        "    print(error)\n"
        "assert not {'model', 'torch'} & set(sys.modules)\n"
    )
    printed = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True).stdout
    assert "demo" in printed


def test_the_settings_of_the_pooling_mark_an_embedding_model(folder: Path) -> None:
    put(folder, "config.json", CONFIG | {"hidden_size": 64})
    assert card_of_folder(folder, "m").kind == "text"
    (folder / "1_Pooling").mkdir()
    put(folder, "1_Pooling/config.json", {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False})
    put(folder, "config_sentence_transformers.json", {"prompts": {"query": "Q:"}, "default_prompt_name": None})
    card = card_of_folder(folder, "m")
    assert (card.kind, card.embedding_size, card.prompts) == ("embedding", 64, {"query": "Q:"})


def test_a_model_that_pools_in_another_way_is_refused(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    put(folder, "1_Pooling/config.json", {"pooling_mode_lasttoken": False, "pooling_mode_mean_tokens": True})
    with pytest.raises(ModelUnusable, match="only embeddings of the last token are supported"):
        card_of_folder(folder, "m")
