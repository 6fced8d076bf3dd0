"""The definition of a task: the drawing of instances, and the phrasings that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Instance:
    """One thing to ask about, independent of the phrasing."""

    values: Mapping[str, str]  # values for the braces of the phrasing
    answer: str
    key: str  # names the instance among its task's; a sum is the same instance in either order
    thought: str = ""  # text that a chat with thinking has before the answer
    inner_name: str | None = None  # name of the plain question inside; both are held out together (`splits.name_of`)


@dataclass(frozen=True)
class Task:
    """A kind of question."""

    name: str
    weight: float  # share of the training questions, relative to the other tasks
    phrasings: tuple[str, ...]
    draw: Callable[[Random], Instance]
    is_fact: bool = False  # few instances, all memorised: pairs of phrasing and instance are held out
    always_trained: bool = False  # one text, one answer: nothing could be held out
