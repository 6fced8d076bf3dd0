"""The main function of `qwen-batch worker`."""

from __future__ import annotations

from celery import signals

from jobs.settings import Settings
from worker.process import WorkerProcess
from worker.queue.celery_glue import celery_app_of
from worker.queue.celery_worker import CeleryWorker
from worker.telemetry.logs import set_up_logs


def run_worker(settings: Settings) -> int:
    """Serve one model until SIGTERM or Ctrl-C. Call it in the main thread, once per process.

    After the first signal, the worker gives its shards back within two seconds. With the setting `drain`, it first
    finishes them. The second signal ends the process at once. Errors for the user go to stderr.

    Returns:
        The exit code. 0: orderly stop. 1: Celery or the engine failed. 2: the model or a setting cannot be used.
        4: the server cannot be used. 6: the store is damaged. 7: loading failed with an unexpected error.

    Raises:
        InvalidInput: The log's level or format is unknown.
    """
    process = WorkerProcess(settings)
    set_up_logs(settings.log_level, settings.log_format, process.worker_id)
    signals.setup_logging.connect(_keep_our_logs, weak=False)
    try:
        worker = CeleryWorker(celery_app_of(process), on_stop=process.stop.request)
        worker.start()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    return worker.exitcode or 0


def _keep_our_logs(**_: object) -> None:
    """Do nothing. If this signal has a receiver, Celery does not change the logging."""
