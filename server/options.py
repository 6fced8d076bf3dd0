"""Options of `qwen-batch serve`, as its processes pass them on."""

from __future__ import annotations

from typing import Any

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Limits of one client, one project and one request."""

    file_bytes: int = 512 * 2**20
    batch_lines: int = 1_000_000
    body_bytes: int = 10 * 2**20  # max size of a JSON body
    project_bytes: int = 50 * 2**30
    project_files: int = 100_000
    unfinished_batches: int = 1_000  # per project
    waiting_lines: int = 10_000_000  # without a result, in the unfinished batches of a project
    uploads: int = 16  # at once, per HTTP process
    project_uploads: int = 4  # at once, per HTTP process and project
    interactive_requests: int = 64  # at once, per HTTP process and API key
    interactive_waiting: int = 512  # that wait for a worker, per model
    interactive_seconds: float = 600.0  # max time of an interactive request
    # The others are per API key. None means no limit.
    requests_per_minute: int | None = None
    requests_at_once: int | None = None  # per HTTP process
    uploads_per_hour: int | None = None
    batches_per_hour: int | None = None
    tokens_per_minute: int | None = None  # tokens of prompts and completions of interactive requests


class ServeOptions(msgspec.Struct, frozen=True):
    """Options of the service. The Redis URL is not among them, because they stand in command lines."""

    files: str  # folder of the file store, or its URL in an object store
    host: str = "127.0.0.1"
    port: int = 8000
    processes: int = 1  # HTTP processes
    keys_file: str | None = None
    auth: bool = False  # True: every request needs an API key
    host_names: tuple[str, ...] = ()  # further names by which clients may call this server; * allows every name
    origins: tuple[str, ...] = ()  # web pages that may use the API, such as https://app.example; * allows every page
    keep_jobs_seconds: float = 7 * 86_400.0  # a job is deleted this long after its batch has ended
    part_seconds: float = 0.9  # max age of the live part of a page; tabs ask for it once per second
    search_seconds: float = 2.0  # max time for which one request reads lines of a job
    store_seconds: float = 1.5  # max time of one call of the store on behalf of a request
    drain_seconds: float = 25.0  # max time for requests under way after SIGTERM
    own_model: str | None = None  # the model of the worker that was started with the service
    limits: Limits = Limits()


def as_options(fields: dict[str, Any]) -> ServeOptions:
    """Return options from the values of their fields. A field that is left out has its default."""
    return msgspec.convert(fields, ServeOptions)
