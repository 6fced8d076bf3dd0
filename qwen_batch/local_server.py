"""A server and workers on this machine, as `qwen-batch run` starts them."""

from __future__ import annotations

import secrets
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, Unpack

import msgspec

from cli.options.target_model import check_model_name
from cli.options.worker_options import require_worker_packages
from cli.run.embedded_server import EmbeddedServer
from cli.run.local_workers import LocalWorkers
from cli.run.run_folder import prune_runs, run_folder
from cli.run.state_lock import StateLock
from jobs.errors import InvalidInput
from jobs.settings import Settings
from qwen_batch.argument_names import unknown_argument
from qwen_batch.client import Client


class WorkerArguments(TypedDict, total=False):
    """Arguments of `local`, beside the model. Each is an option of `qwen-batch run` with the same meaning."""

    served_model_name: str
    device: str  # auto, cpu, cuda or mps
    dtype: str  # auto, float32 or bfloat16
    quantize: str  # none, int8 or int4
    compile: bool
    prefix_caching: bool
    max_num_seqs: int
    max_batched_tokens: int
    max_model_len: int  # tokens of prompt and completion together
    kv_cache_memory: str  # such as 4GiB
    threads: int


_ARGUMENTS = ("model", "workers", "folder", *WorkerArguments.__annotations__)


class LocalServer:
    """A private server with workers. They run in a `with` block, or from `start` to `stop`, or until this process ends.

    Args:
        settings: Settings of the workers. Their model is the model of every submission that names none.
        num_workers: Number of worker processes.
        folder: Folder for the server's data, which stays there. The next `local` with the folder continues its jobs.
            None for a folder that is removed at the end.
    """

    def __init__(self, settings: Settings, num_workers: int, folder: Path | None) -> None:
        self._settings = settings
        self._num_workers = num_workers
        self._kept = folder
        self._resources = ExitStack()

    def start(self) -> Client:
        """Start the server and the workers. Returns a client for them while the workers still load their model.

        Raises:
            InvalidInput: The worker's packages are not installed, or another process uses the folder.
            ModelNotFound: The model is not demo, not a folder and not a hub id.
            StoreUnavailable: No server is installed, or it does not start.
        """
        require_worker_packages()
        check_model_name(self._settings.model)
        with ExitStack() as resources:
            folder = self._kept or self._new_folder(resources)
            resources.enter_context(StateLock(folder))
            server = resources.enter_context(EmbeddedServer(folder))
            settings = msgspec.structs.replace(self._settings, redis_url=server.url)
            workers = resources.enter_context(LocalWorkers(settings, self._num_workers, folder))
            client = Client(settings, settings.model, lambda job: workers.check(job.done))
            self._resources = resources.pop_all()
        return client

    def stop(self) -> None:
        """Stop the workers and the server. Does nothing if they do not run."""
        self._resources.close()

    def __enter__(self) -> Client:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _new_folder(self, resources: ExitStack) -> Path:
        """Return a new folder beside those of `qwen-batch run`, which removes what a killed process has left there."""
        state = self._settings.state_folder()
        prune_runs(state)
        folder = run_folder(state, f"python-{secrets.token_hex(8)}")
        resources.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder


def local(
    model: str | None = None,
    *,
    workers: int = 1,
    folder: str | Path | None = None,
    **arguments: Unpack[WorkerArguments],
) -> LocalServer:
    """Return a private server with workers for one model, for scripts and notebooks.

        with qwen_batch.local("Qwen/Qwen3-0.6B") as client:
            for result in client.submit(rows).results():
                ...

    Args:
        model: A folder, a hub id or demo. None for `QWEN_BATCH_MODEL`, or else for demo.
        workers: Number of worker processes.
        folder: Folder for the server's data, to continue its jobs later. None for a temporary folder.
        arguments: Options of `qwen-batch run` for the workers (`WorkerArguments`).

    Raises:
        InvalidInput: An argument or a variable of the environment is not valid.
        TypeError: There is no argument of this name.
    """
    said = dict(arguments) | ({} if model is None else {"model": model})
    for name in arguments:
        if name not in WorkerArguments.__annotations__:
            raise unknown_argument("local", name, _ARGUMENTS)
    if workers < 1:
        raise InvalidInput(f"`workers` is {workers}; it must be at least 1.")
    settings = Settings.from_env().with_values(said)
    return LocalServer(settings, workers, None if folder is None else Path(folder).expanduser())
