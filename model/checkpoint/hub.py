"""Finding a model's files: the bundled demo, a local folder, or the Hugging Face hub with its cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import ModelNotFound, ModelUnusable
from model.checkpoint.checkpoint_files import POOLING_FILE, PROMPTS_FILE, missing_files

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parents[1] / "demo"

_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_NEEDED_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    POOLING_FILE,
    PROMPTS_FILE,
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
]


@dataclass(frozen=True)
class ModelFolder:
    """A model's folder on this machine."""

    path: Path
    name: str  # as the user named it
    revision: str | None  # commit on the hub; None for a local folder and for `demo`


def resolve_model(name: str, *, show_progress: bool = False, cache_dir: Path | None = None) -> ModelFolder:
    """Find a model and download the files that the hub's cache lacks. A new attempt resumes an interrupted download.

    The environment variables of `huggingface_hub` apply: `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`, `HF_ENDPOINT`,
    `HF_TOKEN`.

    Args:
        name: `demo`, a folder, or a hub id such as `Qwen/Qwen3-0.6B`. A hub id may end in `@` and a branch, tag or
            commit. If a folder of this name exists, it is used instead of the hub. `./demo` is the user's own folder.
        show_progress: Draw a progress bar of the download on stderr, if stderr is a terminal.
        cache_dir: Folder for downloads. None means the hub's default.

    Raises:
        ModelUnusable: The model does not exist, access is denied, the hub is not reachable, or files are missing.
    """
    if name == DEMO:
        return _complete(ModelFolder(DEMO_FOLDER, name, None))
    path = Path(name).expanduser()
    if name and path.is_dir():
        return _complete(ModelFolder(path, name, None))
    hub_id = _HUB_ID.fullmatch(name)
    if hub_id is None or path.is_absolute() or name.startswith((".", "~")):
        raise ModelNotFound(name)
    from model.checkpoint.hub_download import download  # slow to import, and local models need no network client

    snapshot = download(hub_id["repository"], hub_id["revision"], _NEEDED_FILES, show_progress, cache_dir)
    return _complete(ModelFolder(snapshot, name, snapshot.name))


def _complete(folder: ModelFolder) -> ModelFolder:
    missing = missing_files(folder.path)
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ModelUnusable(
            f"The model {folder.name!r} lacks {', '.join(missing[:3])}{more} (looked in {folder.path}).",
            "Download it again, or name another model.",
        )
    return folder
