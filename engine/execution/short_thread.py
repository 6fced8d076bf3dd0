"""A thread for work that shares loops out to others and is done once."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def on_a_short_thread(call: Callable[[], T]) -> T:
    """Run `call`, with the caller's context variables (PyTorch's settings are such), on a thread that ends with it.

    Returns its result, or raises what it raised.

    GNU's OpenMP keeps workers for every thread that ever ran a parallel loop. Once all of them together are more than
    the processors, they fall asleep right after each loop, and the next loop waits until they are awake: a sixth of
    a step's time on two cores. Workers end with their thread, so whatever is not the engine's thread must not stay.
    """
    result: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            result.set_exception(error)

    threading.Thread(target=run, name="load", daemon=True).start()
    return result.result()
