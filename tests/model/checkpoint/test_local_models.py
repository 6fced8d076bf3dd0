from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.errors import ModelUnusable
from model.checkpoint.hub import resolve_model


def checkpoint(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")
    return folder


def test_a_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path / "models" / "tiny", "config.json", "tokenizer.json", "model.safetensors")
    assert resolve_model(str(folder)).path == folder
    monkeypatch.chdir(tmp_path)
    found = resolve_model("models/tiny")  # written like a hub id, but there
    assert (found.path, found.name, found.revision) == (Path("models/tiny"), "models/tiny", None)


def test_a_folder_called_demo_needs_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(tmp_path / "demo", "config.json", "tokenizer.json", "model.safetensors")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("./demo").path == Path("demo")


def test_a_sharded_checkpoint_needs_every_shard(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "config.json", "tokenizer.json", "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelUnusable, match=r"lacks model-00002-of-00002\.safetensors"):
        resolve_model(str(folder))
    checkpoint(folder, "model-00002-of-00002.safetensors")
    assert resolve_model(str(folder)).path == folder


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"weight_map": {"a": 1}}'])
def test_a_damaged_index_is_named(tmp_path: Path, index: str) -> None:
    folder = checkpoint(tmp_path, "config.json", "tokenizer.json")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelUnusable, match=r"model\.safetensors\.index\.json"):
        resolve_model(str(folder))


def test_an_empty_folder_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"lacks config\.json, tokenizer\.json, model\.safetensors"):
        resolve_model(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["", "gpt2", "a b/c", "/not/here", "./not-here", "org/name@", "a/b/c", "https://x.y/z", "~/no"]
)
def test_what_is_no_folder_and_no_hub_id_is_refused_without_asking_the_hub(name: str) -> None:
    with pytest.raises(ModelUnusable, match="it is no folder, no file and no hub id"):
        resolve_model(name)


@pytest.mark.parametrize(
    ("name", "suggested"), [("Qwen3-4B", True), ("qwen3-embedding-0.6b", True), ("./Qwen3-4B", False), ("gpt2", False)]
)
def test_a_name_of_qwen_without_the_organisation_is_answered_with_the_hub_id(name: str, suggested: bool) -> None:
    with pytest.raises(ModelUnusable) as refusal:
        resolve_model(name)
    assert (f"Did you mean Qwen/{name}?" in refusal.value.hint) == suggested
    assert "a hub id such as Qwen/Qwen3-0.6B" in refusal.value.hint


def test_the_bundled_demo_has_all_its_files() -> None:
    folder = resolve_model("demo")
    assert {each.name for each in folder.path.iterdir()} >= {"tokenizer_config.json", "generation_config.json"}
