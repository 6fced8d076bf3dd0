"""Files at URLs of hf come from a hub over HTTP, with the user's token."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import InvalidInput
from jobs.files.remote.hub_files import HubPath, hub_token
from tests.model.checkpoint.hub_server import HubServer
from tests.remote.reading import LINES, refusal, texts
from tests.remote.web_server import WebServer


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("hf://datasets/org/name/data/a.jsonl", "/datasets/org/name/resolve/main/data/a.jsonl"),
        ("hf://datasets/org/name@v1.0/a.jsonl", "/datasets/org/name/resolve/v1.0/a.jsonl"),
        ("hf://datasets/org/name@refs%2Fpr%2F1/a b.jsonl", "/datasets/org/name/resolve/refs%2Fpr%2F1/a%20b.jsonl"),
        ("hf://org/model/a.jsonl", "/org/model/resolve/main/a.jsonl"),
    ],
)
def test_a_file_of_the_hub_is_a_file_over_http(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, url: str, path: str
) -> None:
    web.files[path] = LINES
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setenv("HF_TOKEN", "hf_sEcReT")
    assert texts(url) == ["Hello", "Good night"]
    assert web.requests[0][1]["authorization"] == "Bearer hf_sEcReT"


def test_a_hub_that_refuses_names_the_url_and_the_login(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setenv("HF_TOKEN", "hf_sEcReT")
    web.statuses["/datasets/org/name/resolve/main/a.jsonl"] = 401
    said = refusal("hf://datasets/org/name/a.jsonl")
    assert said.startswith("hf://datasets/org/name/a.jsonl cannot be read: the server says 401")
    assert ("set HF_TOKEN" in said, "sEcReT" in said) == (True, False)
    assert "Write hf://datasets/ORG/NAME/PATH" in refusal("hf://datasets/name")


def test_a_hub_that_is_not_found_is_named_by_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("no_proxy", "*")
    assert "the host hub.invalid is not found. Check the name and the network." in refusal("hf://datasets/a/b/x.jsonl")


def test_the_token_that_a_login_has_left_is_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    assert hub_token({"HF_HOME": str(tmp_path)}) == "from a file"
    assert hub_token({"HF_HOME": str(tmp_path), "HF_TOKEN": "from the environment"}) == "from the environment"
    assert hub_token({"HF_HOME": str(tmp_path / "nobody")}) is None


def test_a_pattern_of_the_hub_stands_for_its_files() -> None:
    files = dict.fromkeys(("data/b.jsonl", "data/a.jsonl", "data/deep/c.jsonl", "a.jsonl", "data/d.csv"), b"")
    with HubServer("datasets/org/name", {"main": files}) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        for pattern, names in (
            ("data/*.jsonl", ["data/a.jsonl", "data/b.jsonl"]),
            ("**/[ac].*", ["a.jsonl", "data/a.jsonl", "data/deep/c.jsonl"]),
            ("data/deep/**", ["data/deep/c.jsonl"]),
            ("d*", []),
        ):
            assert HubPath.of(f"hf://datasets/org/name/{pattern}").matching() == [
                f"hf://datasets/org/name/{name}" for name in names
            ]
        with pytest.raises(
            InvalidInput, match=r"cannot be listed: it does not exist\. Check the name\. If it is private"
        ):
            HubPath.of("hf://datasets/org/other/*").matching()
