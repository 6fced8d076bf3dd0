"""The sender of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from starlette.types import Scope

Right = Literal["batch", "online", "admin"]
RIGHTS: tuple[Right, ...] = ("batch", "online", "admin")
DEFAULT_PROJECT = "default"

_KEY = "qwen_batch.caller"


@dataclass(frozen=True)
class Caller:
    """The sender of a request, as its API key says."""

    project: str
    key_id: str  # identifies the key in logs and limits; not secret
    rights: frozenset[Right]


EVERYBODY = Caller(DEFAULT_PROJECT, "none", frozenset(RIGHTS))  # the caller of a service without keys


def set_caller(scope: Scope, caller: Caller) -> None:
    """Note the caller of a request."""
    scope[_KEY] = caller


def caller_of(scope: Scope) -> Caller:
    """Return the caller of a request that has passed `KeyMiddleware`."""
    caller: Caller = scope[_KEY]
    return caller
