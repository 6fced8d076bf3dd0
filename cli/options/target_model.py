"""The model of a job, as far as a client can tell without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cli.console.console import Console
from jobs.errors import InvalidInput, ModelNotFound
from jobs.files.file_report import FileReport
from jobs.files.formats.model_checks import same_model
from jobs.files.prompt_file import PromptFile
from jobs.records.model_card import ModelCard, builtin_demo_folder, card_of_folder, check_architecture
from jobs.records.served_name import served_name
from jobs.settings import Settings
from jobs.submission.checking import notices_of

_HUB_ID = re.compile(r"(?!\.)[\w.-]{1,96}/[\w.-]{1,96}(:[\w.-]{1,96})?(@[\w./-]+)?")


@dataclass(frozen=True)
class TargetModel:
    """The name of the model's queue, and the model's card if its folder is on this machine."""

    name: str
    card: ModelCard | None


def say_if_demo(settings: Settings, console: Console) -> None:
    """Print a line if the model is the demo model, which is the default."""
    if settings.model == "demo":
        console.say("Using the built-in demo model, a toy. A real one: --model Qwen/Qwen3-0.6B")


def target_model(settings: Settings, console: Console) -> TargetModel:
    """Return the settings' model. Prints a line if it is the demo model.

    Raises:
        ModelUnusable: A local folder holds no model, or a model that no worker can serve.
    """
    say_if_demo(settings, console)
    name = settings.served_model_name or served_name(settings.model)
    folder = local_folder(settings.model)
    if folder is None:
        return TargetModel(name, None)
    check_architecture(folder)
    return TargetModel(name, card_of_folder(folder, name))


def local_folder(model: str) -> Path | None:
    """Return the model's folder on this machine, in the layout of transformers. None if there is none.

    A client cannot read GGUF files. A model in a GGUF file counts as one that is not on this machine.
    """
    folder = builtin_demo_folder() if model == "demo" else Path(model).expanduser()
    if not folder.is_dir():
        return None
    has_settings = all((folder / name).is_file() for name in ("config.json", "tokenizer.json"))
    return None if any(folder.glob("*.gguf")) and not has_settings else folder


def with_model_of_lines(
    settings: Settings, said: str | None, file: PromptFile, served: Callable[[], Iterable[str]]
) -> Settings:
    """Return the settings with the model that a file's lines name, if the user has named none.

    Args:
        settings: The settings, which hold the default if nobody has named a model.
        said: The value of `--model`, or None.
        file: The prompt file.
        served: Returns the models that workers serve.

    Raises:
        InvalidInput: The lines name a model that cannot be had.
    """
    if said is not None or Settings.model_is_named() or (name := file.first_model()) is None:
        return settings
    is_other_family = _is_of_another_family(name)
    if _can_be_loaded(name) and not is_other_family:
        return msgspec.structs.replace(settings, model=name)
    for model in served():
        if same_model(name, model):
            return msgspec.structs.replace(settings, model=model)
    no_model = "no Qwen3 model by its name" if is_other_family else "no folder, no file, no hub id"
    raise InvalidInput(
        f"{file.name} names the model {name!r}, which is {no_model} and no model that a worker serves.",
        "Say which model answers: --model Qwen/Qwen3-4B.",
    )


def check_model_name(name: str) -> None:
    """Check, before anything is started, that workers of this machine can look for a model.

    Raises:
        ModelNotFound: The name is not demo, not a folder or file, and not a hub id.
    """
    if not _can_be_loaded(name):
        raise ModelNotFound(name)


def _can_be_loaded(name: str) -> bool:
    return name == "demo" or _HUB_ID.fullmatch(name) is not None or Path(name).expanduser().exists()


def _is_of_another_family(name: str) -> bool:
    """Return whether a hub id does not call its model a Qwen3. Files made for other services name such models."""
    if _HUB_ID.fullmatch(name) is None or Path(name).expanduser().exists():
        return False
    return "qwen3" not in name.partition("@")[0].rpartition("/")[2].lower()


def say_notices(report: FileReport, model: str, console: Console) -> None:
    """Print what the author of a file should know: one line per notice."""
    for notice in notices_of(report, model):
        console.say(notice)
