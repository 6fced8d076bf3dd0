"""The model of a job, as far as a client can tell without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.console.console import Console
from jobs.records.model_card import ModelCard, builtin_demo_folder, card_of_folder, check_architecture
from jobs.records.served_name import served_name
from jobs.settings import Settings


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
    folder = builtin_demo_folder() if settings.model == "demo" else Path(settings.model).expanduser()
    if not folder.is_dir():
        return TargetModel(name, None)
    check_architecture(folder)
    return TargetModel(name, card_of_folder(folder, name))
