from __future__ import annotations

from pathlib import Path

import pytest

from jobs.records.served_name import served_name


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("demo", "demo"),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("Qwen/Qwen3-0.6B@main", "Qwen/Qwen3-0.6B"),
        ("/models/not-here/Qwen3-0.6B", "Qwen3-0.6B"),
        ("/models/not-here/Qwen3-0.6B/", "Qwen3-0.6B"),
        ("/models/not-here/odd@name", "odd@name"),
        ("./not-here/tiny", "tiny"),
        ("~/tiny", "tiny"),
        ("/models/not-here/Qwen3-8B-Q4_K_M.gguf", "Qwen3-8B-Q4_K_M"),
        ("/models/not-here/Qwen3-30B-A3B-Q8_0-00001-of-00002.gguf", "Qwen3-30B-A3B-Q8_0"),
        ("Qwen/Qwen3-8B-GGUF:Q4_K_M", "Qwen/Qwen3-8B-GGUF:Q4_K_M"),
        ("Qwen/Qwen3-8B-GGUF:Q4_K_M@main", "Qwen/Qwen3-8B-GGUF:Q4_K_M"),
    ],
)
def test_a_model_is_served_under_the_name_that_a_client_can_work_out(model: str, name: str) -> None:
    assert served_name(model) == name


def test_a_folder_that_is_there_is_called_by_its_last_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "models" / "link").symlink_to(tmp_path / "models" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert served_name("models/tiny") == "tiny"
    assert served_name("models/link") == "link"
    assert served_name("models/elsewhere") == "models/elsewhere"
    (tmp_path / "models" / "tiny.gguf").touch()
    assert served_name("models/tiny.gguf") == "tiny"
    monkeypatch.chdir(tmp_path / "models" / "tiny")
    assert served_name(".") == "tiny"
    assert served_name("..") == "models"
