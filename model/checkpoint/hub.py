"""Finding a model's files: the bundled demo, a local folder or GGUF file, or the Hugging Face hub with its cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import ModelNotFound, ModelUnusable
from model.checkpoint.checkpoint_files import POOLING_FILE, PROMPTS_FILE, has_safetensors, missing_files
from model.checkpoint.gguf.folder import gguf_folder, models_in

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parents[1] / "demo"

_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(:(?P<weights>[\w.-]+))?(@(?P<revision>[\w./-]+))?")
_NAMES_SHOWN = 5
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
        name: What `local_model` takes, or a hub id such as `Qwen/Qwen3-0.6B`. A hub id may end in `@` and a branch, tag
            or commit. Before that, `:Q4_K_M` chooses a file of a repository with GGUF files. If a file or folder of
            this name exists, it is used instead of the hub.
        show_progress: Draw a progress bar of the download on stderr, if stderr is a terminal.
        cache_dir: Folder for downloads. None means the hub's default.

    Raises:
        ModelUnusable: The model does not exist, access is denied, the hub is not reachable, or files are missing.
    """
    if (folder := local_model(name)) is not None:
        return _complete(ModelFolder(folder, name, None))
    hub_id = _HUB_ID.fullmatch(name)
    if hub_id is None or name.startswith((".", "~")):
        raise ModelNotFound(name)
    from model.checkpoint.hub_download import download, download_gguf  # slow to import; local models need no network

    place = (hub_id["repository"], hub_id["revision"])
    if hub_id["weights"] is None:
        snapshot = download(*place, _NEEDED_FILES, show_progress, cache_dir)
        return _complete(ModelFolder(snapshot, name, snapshot.name))
    file, commit = download_gguf(*place, hub_id["weights"], show_progress, cache_dir)
    return _complete(ModelFolder(gguf_folder(file), name, commit))


def local_model(name: str) -> Path | None:
    """Return the folder of a model on this machine, in the layout of transformers. None if it is not on this machine.

    Args:
        name: `demo`, a folder, a GGUF file, or a folder with a single GGUF file. `./demo` is the user's own folder.

    Raises:
        ModelUnusable: A GGUF file cannot be used, or a folder has several ones.
    """
    if name == DEMO:
        return DEMO_FOLDER
    path = Path(name).expanduser()
    if path.is_file():
        return gguf_folder(path)
    if not name or not path.is_dir():
        return None
    models = [] if has_safetensors(path) else models_in(path)
    if len(models) > 1:
        shown = ", ".join(model.name for model in models[:_NAMES_SHOWN]) + (
            " ..." if len(models) > _NAMES_SHOWN else ""
        )
        raise ModelUnusable(f"{path} holds {len(models)} GGUF files: {shown}.", f"Name one of them: {models[0]}")
    return gguf_folder(models[0]) if models else path


def _complete(folder: ModelFolder) -> ModelFolder:
    missing = missing_files(folder.path)
    if not missing:
        return folder
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    hint = "Download it again, or name another model."
    if folder.revision is not None and "gguf" in folder.name.lower():
        hint = f"If it holds GGUF files, name one by the end of its name: {folder.name}:Q4_K_M"
    raise ModelUnusable(
        f"The model {folder.name!r} lacks {', '.join(missing[:3])}{more} (looked in {folder.path}).", hint
    )
