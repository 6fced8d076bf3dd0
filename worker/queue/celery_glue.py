"""Connect Celery to the worker: one task, and handlers for Celery's signals."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import NoReturn

from celery import Celery, signals
from celery.apps.worker import Worker
from celery.concurrency.thread import TaskPool
from celery.utils.functional import noop
from celery.worker.consumer import Consumer

from jobs.errors import QwenBatchError
from jobs.exit_codes import ExitCode, code_of_error
from jobs.harmless import harmless_lines
from jobs.queue.celery_app import make_app
from jobs.queue.hints import RUN_SHARD_TASK, queue_name
from worker.process import WorkerProcess
from worker.process_exit import QuickExit, exit_at_next_signal
from worker.queue.front_door import MalformedHint
from worker.queue.tolerant_broker import TolerantAMQP

log = logging.getLogger(__name__)

BUG = "This is a bug, or a library does not work on this machine. The log above has the traceback."


def celery_app_of(process: WorkerProcess) -> Celery:
    """Return the Celery application that passes hints from the model's queue to a worker.

    The application acknowledges a message before the shard runs. It keeps no Celery results, because the store holds
    all results.
    """
    app = make_app(process.settings.redis_url)
    app.amqp_cls = TolerantAMQP
    app.conf.update(
        worker_pool="threads",
        task_default_queue=queue_name(process.model),
        # Otherwise Celery warns after each lost connection. It concerns late acknowledgements, which no task here has.
        worker_cancel_long_running_tasks_on_connection_loss=True,
    )

    def run_shard(*args: object, **kwargs: object) -> None:
        """Accept any arguments, so that the worker itself can refuse them."""
        process.run_hint(args, kwargs)

    app.task(run_shard, name=RUN_SHARD_TASK, typing=False, ignore_result=True, acks_late=False)
    _connect_signals(process)
    return app


def _connect_signals(process: WorkerProcess) -> None:
    """Register the receivers of Celery's signals. They stay registered until the process ends."""
    quick_exit = QuickExit()

    def open_worker(sender: Worker, **_: object) -> None:
        _open(process, sender)

    def consumer_ready(sender: Consumer, **_: object) -> None:
        """Let a stop wake Celery's main loop, which may sleep for seconds."""
        process.wake_main_loop = lambda: sender.hub.call_soon(noop)
        process.log_ready()

    def stop_worker(**_: object) -> None:
        """Begin the orderly stop. Runs inside a signal handler."""
        process.stop.request()
        exit_at_next_signal()

    def refuse_message(exc: Exception | None = None, **_: object) -> None:
        told = isinstance(exc, MalformedHint)  # other errors may quote the message
        process.refusals.add(str(exc) if told else f"it is no message ({type(exc).__name__})")

    def close_worker(sender: Worker, **_: object) -> None:
        process.close()
        quick_exit.arm(sender.exitcode or 0)

    signals.worker_init.connect(open_worker, weak=False)
    signals.worker_ready.connect(consumer_ready, weak=False)
    signals.worker_shutting_down.connect(stop_worker, weak=False)
    signals.task_rejected.connect(refuse_message, weak=False)
    signals.task_unknown.connect(refuse_message, weak=False)
    signals.worker_shutdown.connect(close_worker, weak=False)


def _open(process: WorkerProcess, sender: Worker) -> None:
    """Load the model and set the number of threads, before Celery makes its pool. End the process if that fails."""
    if not _is_threads_pool(sender.pool_cls):
        _exit("The worker needs Celery's threads pool.", "Start it with `--pool threads`.", ExitCode.INVALID_INPUT)
    try:
        sender.concurrency = process.open().num_threads
    except QwenBatchError as error:
        _exit(error.message, error.hint, code_of_error(error))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in a tokenizer's Rust code is not an `Exception`
        log.critical("the worker cannot start", exc_info=error)
        _exit(
            f"The worker failed while it loaded {process.settings.model}: {_one_line(error)}",
            BUG,
            ExitCode.NOT_LOADED,
        )


def _is_threads_pool(pool: str | type) -> bool:
    return pool == "threads" or (isinstance(pool, type) and issubclass(pool, TaskPool))


def _one_line(error: BaseException) -> str:
    """Return the first line of an error's text. PyTorch's messages have many lines."""
    return traceback.format_exception_only(error)[0].partition("\n")[0]


def _exit(message: str, hint: str, code: ExitCode) -> NoReturn:
    """Print an error like the commands do, and raise SystemExit. Celery passes on no other exception from here."""
    sys.stderr.write(harmless_lines(f"Error: {message}\n{hint}\n" if hint else f"Error: {message}\n"))
    raise SystemExit(code)
