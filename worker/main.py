"""The worker as a function: what `qwen-batch worker` runs."""

from __future__ import annotations

from celery import signals

from jobs.settings import Settings
from worker.process import WorkerProcess
from worker.queue.celery_glue import celery_app_of
from worker.queue.celery_worker import CeleryWorker
from worker.telemetry.logs import set_up_logs


def run_worker(settings: Settings) -> int:
    """Serve one model until SIGTERM or Ctrl-C. Must be called in the main thread, once in a process.

    The first signal hands everything back within two seconds, the second ends the process at once. What a person can
    act on goes to stderr.

    Returns:
        The exit code: 0 after an orderly stop, 1 if Celery or the engine failed, 2 if the model or a setting cannot be
        used, 4 if the server cannot, 7 if loading failed with an unexpected error.

    Raises:
        InvalidInput: A setting of the log does not exist.
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
    """A receiver of this signal is Celery's sign to leave logging alone."""
