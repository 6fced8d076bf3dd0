"""Submit rows to a server, and find its jobs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Unpack

import msgspec

from cli.console.console import Console
from cli.options.target_model import target_model, with_model_of_lines
from jobs.files.prompt_file import PromptFile
from jobs.queue.celery_hints import CeleryHints
from jobs.records import job as records
from jobs.settings import Settings
from jobs.stores.connect import connect as connect_store
from jobs.submission.checking import notices_of
from jobs.submission.job_client import JobClient
from jobs.submission.submit_options import SubmitOptions, submission_key
from qwen_batch.argument_names import errors_in_words_of_python
from qwen_batch.job_handle import Job
from qwen_batch.rows import Rows, open_rows
from qwen_batch.submission import (
    ARGUMENTS,
    SubmitArguments,
    check_names,
    defaults_of,
    line_defaults_of,
    lines_of,
    reading_of,
)


class Client:
    """The jobs on one server. Made by `connect`, or by `LocalServer`.

    Args:
        settings: Settings of the environment, with the server's URL.
        model: Model of a job whose submission names none. None for the one that the rows or the environment name.
        check: Called with a job while a method waits for the job. An exception from it ends the waiting.
    """

    def __init__(self, settings: Settings, model: str | None, check: Callable[[records.Job], None]) -> None:
        self._settings = settings
        self._model = model
        self._check = check
        self._jobs = JobClient(connect_store(settings.redis_url), CeleryHints(settings.redis_url))

    def submit(self, rows: Rows, **arguments: Unpack[SubmitArguments]) -> Job:
        """Check the rows and store them as a job. Returns the job, which workers run.

        Rows that were submitted before with the same arguments make no second job while the first one stands. Then the
        first job is returned. What the rows' author should know becomes a `UserWarning`.

        Args:
            rows: The path of a file, or dicts, or a table: a pandas or Polars `DataFrame`, a pyarrow `Table`, a
                `datasets.Dataset`. A generator of dicts may be of any length.
            arguments: Options of `qwen-batch submit` (`SubmitArguments`), such as `template` or `max_tokens`.

        Raises:
            InvalidInput: A row or an argument is not valid. Nothing is stored.
            QwenBatchError: The model or the server cannot be used.
        """
        check_names(arguments)
        with errors_in_words_of_python(ARGUMENTS) as translated, open_rows(rows, reading_of(arguments)) as file:
            options, model = self._options(file, arguments)
            checked = self._jobs.check(file, options)
            for notice in notices_of(checked.report, options.model):
                warnings.warn(translated(notice), stacklevel=2)
            key = submission_key(arguments.get("key"), checked.report, model, options)
            submitted = self._jobs.submit(checked, options, None if arguments.get("new") else key)
        return Job(self._jobs.store, submitted.job.id, self._check)

    def _options(self, file: PromptFile, arguments: SubmitArguments) -> tuple[SubmitOptions, str]:
        """Return the options of a submission, and its model as it was named."""
        said = arguments.get("model") or self._model
        settings = self._settings if said is None else msgspec.structs.replace(self._settings, model=said)
        settings = with_model_of_lines(settings, said, file, self._jobs.served_models)
        target = target_model(settings, Console(verbosity=-1))
        options = SubmitOptions(
            target.name,
            defaults_of(arguments),
            arguments.get("seed", 0),
            arguments.get("skip_invalid", False),
            target.card,
            priority=arguments.get("priority", 0),
            deadline_seconds=arguments.get("deadline_seconds"),
            reuse=arguments.get("reuse", False),
            lines=lines_of(arguments),
            line_defaults=line_defaults_of(arguments),
        )
        return options, settings.model

    def job(self, job_id: str) -> Job:
        """Return an earlier job. Raises `JobNotFound` if the server has none with this id."""
        return Job(self._jobs.store, self._jobs.store.jobs.get(job_id).id, self._check)

    def jobs(self, limit: int = 100) -> list[Job]:
        """Return the newest jobs, newest first."""
        return [Job(self._jobs.store, job.id, self._check) for job in self._jobs.store.jobs.newest(limit)]


def connect(redis_url: str | None = None) -> Client:
    """Return a client of a server.

    Args:
        redis_url: The server's URL. None for `QWEN_BATCH_REDIS_URL`, or else for redis://localhost:6379/0.

    Raises:
        InvalidInput: The URL or a variable of the environment is not valid.
        StoreUnavailable: The server cannot be reached.
    """
    settings = Settings.from_env()
    if redis_url is not None:
        settings = msgspec.structs.replace(settings, redis_url=redis_url)
    with errors_in_words_of_python(("redis_url",)):
        return Client(settings, None, _nothing_to_check)


def submit(rows: Rows, *, redis_url: str | None = None, **arguments: Unpack[SubmitArguments]) -> Job:
    """Submit rows to the server at `redis_url`, as `connect(redis_url).submit(rows, …)` does."""
    return connect(redis_url).submit(rows, **arguments)


def job(job_id: str, *, redis_url: str | None = None) -> Job:
    """Return an earlier job on the server at `redis_url`. Raises `JobNotFound` if it has none with this id."""
    return connect(redis_url).job(job_id)


def _nothing_to_check(_job: records.Job) -> None:
    """Accept every job: other machines run it, and they look after their workers."""
