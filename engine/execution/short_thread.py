"""Running one-off parallel work on a thread of its own."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def on_a_short_thread(call: Callable[[], T]) -> T:
    """Run `call` on a thread that ends afterwards, and return its result or raise its error.

    The thread gets the caller's context variables, which hold some of PyTorch's settings.

    GNU's OpenMP keeps worker threads for every thread that ever ran a parallel loop. If these workers outnumber the
    processors, they fall asleep after each loop, and the next loop waits until they wake up. On two cores that costs
    a sixth of a step's time. The workers end with their thread, so only the engine thread may live on.
    """
    result: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it again
            result.set_exception(error)

    threading.Thread(target=run, name="load", daemon=True).start()
    return result.result()
