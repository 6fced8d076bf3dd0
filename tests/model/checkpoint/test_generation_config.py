from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.errors import ModelUnusable
from model.checkpoint.generation_config import GenerationConfig


def write(folder: Path, **files: object) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("said", "ids"), [(7, (7,)), ([7, 5], (7, 5)), ([7, 7], (7,)), (0, (0,)), ([], (3,)), (None, (3,))]
)
def test_eos_is_an_id_or_a_list_and_config_json_says_it_when_the_file_does_not(
    tmp_path: Path, said: object, ids: tuple[int, ...]
) -> None:
    write(tmp_path, generation_config={"eos_token_id": said}, config={"eos_token_id": 3})
    assert GenerationConfig.from_folder(tmp_path).eos_token_ids == ids


def test_without_the_file_config_json_says_it(tmp_path: Path) -> None:
    assert GenerationConfig.from_folder(write(tmp_path, config={"eos_token_id": [1, 2]})).eos_token_ids == (1, 2)
    assert GenerationConfig.from_folder(write(tmp_path, config={})).eos_token_ids == ()


@pytest.mark.parametrize("said", ["7", -1, [1, -1], [1, "2"], True, 1.5, {"id": 1}])
def test_an_eos_that_is_no_token_id_makes_the_model_unusable(tmp_path: Path, said: object) -> None:
    write(tmp_path, generation_config={"eos_token_id": said}, config={})
    with pytest.raises(ModelUnusable, match=r"eos_token_id in .*generation_config\.json"):
        GenerationConfig.from_folder(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_damaged_file_makes_the_model_unusable(tmp_path: Path, content: str) -> None:
    write(tmp_path, config={})
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(ModelUnusable, match=r"generation_config\.json"):
        GenerationConfig.from_folder(tmp_path)


def test_a_folder_without_config_json_makes_the_model_unusable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"no config\.json"):
        GenerationConfig.from_folder(tmp_path)
