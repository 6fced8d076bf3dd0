"""The lines that a client prints: one per check. Programs of this folder import only their client and each other."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn


class Wrong(Exception):
    """Something is not as it must be."""


def expect(what: str, found: object, wanted: object) -> None:
    """Raise `Wrong` unless two values are equal."""
    if found != wanted:
        raise Wrong(f"{what}: {str(found)[:500]} instead of {str(wanted)[:500]}")


class Report:
    """Runs checks and prints how they ended.

    Args:
        client: Name and version of the client.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._failed = False

    def check(self, what: str, call: Callable[[], str]) -> None:
        """Run one check, which returns its figures. An exception of any kind is a failure."""
        began = time.perf_counter()
        try:
            outcome = f"ok      {self._client}: {what}: {call()}"
        except Exception as error:  # noqa: BLE001 - a client may raise anything
            self._failed = True
            outcome = f"FAILED  {self._client}: {what}: {type(error).__name__}: {error}"
            traceback.print_exc()
        print(f"{outcome} ({time.perf_counter() - began:.1f} s)", flush=True)

    def exit(self) -> NoReturn:
        """End the program, with status 1 if a check failed."""
        sys.exit(self._failed)
