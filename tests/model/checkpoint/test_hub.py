"""The hub's real client against a hub on this machine. Each run is a process: the client reads its settings once."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.model.checkpoint.hub_server import COMMITS, HubServer

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, sys
from jobs.errors import ModelUnusable
from model.checkpoint.hub import resolve_model
try:
    folder = resolve_model(sys.argv[1], show_progress="--progress" in sys.argv)
except ModelUnusable as error:
    print(json.dumps({"error": error.message, "hint": error.hint}))
else:
    paths = [each for each in folder.path.rglob("*") if each.is_file()]
    files = {str(each.relative_to(folder.path)): each.read_bytes()[:20].decode() for each in paths}
    print(json.dumps({"name": folder.name, "revision": folder.revision, "files": files}))
"""
WEIGHTS = bytes(12_000_000)  # more than one chunk of the client's
FILES = {
    "config.json": b'{"config": 1}',
    "generation_config.json": b'{"generation": 1}',
    "tokenizer.json": b'{"tokenizer": 1}',
    "tokenizer_config.json": b'{"template": 1}',
    "model.safetensors": b"weights of main",
    "1_Pooling/config.json": b'{"pooling": 1}',
    "config_sentence_transformers.json": b'{"prompts": {}}',
}
UNNEEDED = {"README.md": b"#", "pytorch_model.bin": b"x", "vocab.json": b"{}", "onnx/model.safetensors": b"x"}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    tagged = {**FILES, "model.safetensors": b"weights of v1"}
    with HubServer("org/tiny", {"main": {**FILES, **UNNEEDED}, "v1": tagged}) as server:
        yield server


def start(name: str, url: str, home: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    clean |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*", **environment}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT, name, *options],
        cwd=REPOSITORY,
        env=clean,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def resolve(name: str, url: str, home: Path, *options: str, **environment: str) -> dict[str, object]:
    process = start(name, url, home, *options, **environment)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return {**json.loads(output), "stderr": errors}


def files_in(folder: Path, pattern: str) -> dict[str, int]:
    """The size of each file that matches, by its name. Files that another process removes meanwhile are left out."""
    found = {}
    # `Path.rglob` fails where a folder disappears while it is read.
    for name in glob.glob(f"**/{pattern}", root_dir=folder, recursive=True, include_hidden=True):  # noqa: PTH207
        with contextlib.suppress(FileNotFoundError):
            found[Path(name).name] = (folder / name).stat().st_size
    return found


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Watch the files of another process; it must not end before."""
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_model_is_downloaded_once_and_only_the_files_it_needs(hub: HubServer, tmp_path: Path) -> None:
    first = resolve("org/tiny", hub.url, tmp_path)
    assert first["revision"] == COMMITS["main"]
    assert first["name"] == "org/tiny"
    assert first["files"] == {name: content.decode() for name, content in FILES.items()}
    assert hub.fetched_files() == set(FILES)
    assert first["stderr"] == ""

    hub.requests.clear()
    assert resolve("org/tiny", hub.url, tmp_path)["files"] == first["files"]
    assert not [line for line in hub.requests if "/resolve/" in line]

    hub.requests.clear()
    assert resolve("org/tiny", hub.url, tmp_path, HF_HUB_OFFLINE="1")["files"] == first["files"]
    assert hub.requests == []

    unreachable = "http://127.0.0.1:9"
    assert resolve("org/tiny", unreachable, tmp_path)["files"] == first["files"]


def test_a_revision_is_fetched_by_its_name(hub: HubServer, tmp_path: Path) -> None:
    found = resolve("org/tiny@v1", hub.url, tmp_path)
    assert found["revision"] == COMMITS["v1"]
    assert found["files"]["model.safetensors"] == "weights of v1"  # type: ignore[index]


def test_progress_is_shown_only_when_asked_for(hub: HubServer, tmp_path: Path) -> None:
    shown = resolve("org/tiny", hub.url, tmp_path, "--progress", TQDM_POSITION="-1")
    assert "Fetching" in str(shown["stderr"]) or "Downloading" in str(shown["stderr"])


def test_a_connection_cut_inside_a_file_goes_on_where_it_was_cut(hub: HubServer, tmp_path: Path) -> None:
    hub.files["main"]["model.safetensors"] = WEIGHTS
    hub.cut_after = len(WEIGHTS) - 1
    assert "error" not in resolve("org/tiny", hub.url, tmp_path)
    first, second = [line for line in hub.requests if line.startswith("GET") and "model.safetensors" in line]
    assert "bytes=" not in first
    assert "bytes=" in second
    assert [found.stat().st_size for found in tmp_path.rglob("model.safetensors")] == [len(WEIGHTS)]


def test_a_killed_download_leaves_no_usable_half_and_the_next_fetches_what_is_missing(
    hub: HubServer, tmp_path: Path
) -> None:
    hub.files["main"]["model.safetensors"] = WEIGHTS
    hub.stall_after = len(WEIGHTS) - 1
    small = {name for name in FILES if "/" not in name} - {"model.safetensors"}
    with start("org/tiny", hub.url, tmp_path) as process:
        try:
            wait_until(lambda: small <= files_in(tmp_path, "snapshots/*/*").keys(), process)
            wait_until(lambda: any(files_in(tmp_path, "*.incomplete").values()), process)
        finally:
            process.kill()

    offline = resolve("org/tiny", hub.url, tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in str(offline["error"])

    hub.stall_after = None
    hub.requests.clear()
    assert "error" not in resolve("org/tiny", hub.url, tmp_path)
    assert hub.fetched_files() == {"model.safetensors"}
    assert [found.stat().st_size for found in tmp_path.rglob("model.safetensors")] == [len(WEIGHTS)]


@pytest.mark.parametrize(
    ("name", "said"),
    [("org/other", "The hub has no model org/other"), ("org/tiny@v2", "The model org/tiny has no revision 'v2'")],
)
def test_what_the_hub_does_not_have_is_named(hub: HubServer, tmp_path: Path, name: str, said: str) -> None:
    assert said in str(resolve(name, hub.url, tmp_path)["error"])


def test_a_gated_model_says_what_to_do(hub: HubServer, tmp_path: Path) -> None:
    hub.gated = True
    refused = resolve("org/tiny", hub.url, tmp_path)
    assert "gated" in str(refused["error"])
    assert "HF_TOKEN" in str(refused["hint"])


def test_a_hub_out_of_reach_and_a_model_not_cached_are_told_apart(tmp_path: Path) -> None:
    unreachable = resolve("org/tiny", "http://127.0.0.1:9", tmp_path)
    assert "cannot be downloaded from http://127.0.0.1:9" in str(unreachable["error"])
    assert "Check the network" in str(unreachable["hint"])
    offline = resolve("org/tiny", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in str(offline["error"])


def test_a_repository_without_weights_is_refused(hub: HubServer, tmp_path: Path) -> None:
    del hub.files["main"]["model.safetensors"]
    assert "lacks model.safetensors" in str(resolve("org/tiny", hub.url, tmp_path)["error"])


GGUF_FILES = ["tiny-Q4_K_M.gguf", "tiny-UD-Q4_K_XL.gguf", "BF16/tiny-BF16-00001-of-00002.gguf", "tiny-F16.gguf"]
GGUF_FILES += ["BF16/tiny-BF16-00002-of-00002.gguf", "README.md"]


@pytest.fixture
def gguf_hub() -> Iterator[HubServer]:
    with HubServer("org/tiny-GGUF", {"main": {name: name.encode() for name in GGUF_FILES}}) as server:
        yield server


@pytest.mark.parametrize(
    ("weights", "fetched"),
    [
        ("q4_k_m", {"tiny-Q4_K_M.gguf"}),
        ("BF16", {"BF16/tiny-BF16-00001-of-00002.gguf", "BF16/tiny-BF16-00002-of-00002.gguf"}),
        ("F16", {"tiny-F16.gguf"}),
    ],
)
def test_only_the_gguf_files_that_the_name_ends_in_are_downloaded(
    gguf_hub: HubServer, tmp_path: Path, weights: str, fetched: set[str]
) -> None:
    answer = resolve(f"org/tiny-GGUF:{weights}", gguf_hub.url, tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert gguf_hub.fetched_files() == fetched
    assert str(answer["error"]).endswith(f"/snapshots/{COMMITS['main']}/{min(fetched)} is no GGUF file.")


def test_weights_that_a_repository_lacks_are_named_with_those_that_it_has(gguf_hub: HubServer, tmp_path: Path) -> None:
    answer = resolve("org/tiny-GGUF:Q5_K_M", gguf_hub.url, tmp_path)
    assert answer["error"] == "The model org/tiny-GGUF has no GGUF file of Q5_K_M."
    assert answer["hint"] == "Its GGUF files are: " + ", ".join(GGUF_FILES[:-1]) + "."
    assert not gguf_hub.fetched_files()


def test_a_repository_with_gguf_files_says_how_to_name_one(gguf_hub: HubServer, tmp_path: Path) -> None:
    answer = resolve("org/tiny-GGUF", gguf_hub.url, tmp_path)
    assert str(answer["hint"]).endswith("name one by the end of its name: org/tiny-GGUF:Q4_K_M")
