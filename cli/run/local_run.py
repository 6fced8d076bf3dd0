"""The steps of `run`: start a server and workers, submit a job, write its results."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cli.console.console import Console
from cli.console.progress import report_end, watch_job
from cli.options.result_target import ResultTarget
from cli.run.embedded_server import EmbeddedServer
from cli.run.interruption import Interruption
from cli.run.local_workers import LocalWorkers
from cli.run.run_folder import job_to_resume, prune_runs, run_folder
from cli.run.state_disk import StateDisk
from cli.run.state_lock import StateLock
from cli.run.worker_failure import LocalWorkerFailed
from cli.store import open_client
from jobs.errors import OutputNotWritable, QwenBatchError, ResultsMissing, StoreDamaged
from jobs.exit_codes import ExitCode, code_of_job
from jobs.files.prompt_file import CheckedFile
from jobs.records.job import Job
from jobs.settings import Settings
from jobs.stores.protocol import JobStore
from jobs.submission.job_client import JobClient
from jobs.submission.submit_options import SubmitOptions, fingerprint_of


@dataclass(frozen=True)
class LocalRun:
    """One call of `run`."""

    checked: CheckedFile
    options: SubmitOptions
    target: ResultTarget
    settings: Settings
    embedded: bool  # True to start a private server; False to use the server of the settings
    num_workers: int

    def __call__(self, console: Console, interruption: Interruption) -> ExitCode:
        """Run the job.

        Raises:
            QwenBatchError: The server, a worker or an output path cannot be used.
        """
        fingerprint = fingerprint_of(self.checked.report, self.settings.model, self.options, self.settings.quantize)
        state_folder = self.settings.state_folder()
        folder = run_folder(state_folder, fingerprint)
        disk = StateDisk(folder)
        with disk.named_in_errors(lambda: self.embedded and disk.has_no_room()), StateLock(folder):
            for pruned in prune_runs(state_folder):
                console.detail(f"Removed an old unfinished run: {pruned}.")
            console.detail(f"Server data and worker logs are in {folder}.")
            if self.options.card is None:
                console.say(
                    f"A model that is not on this machine is downloaded first. Progress: {folder}/worker-1.log."
                )
            with self._server(folder) as server:
                settings = self._settings(server)
                cannot_save = server.cannot_save if server else lambda: False
                workers = LocalWorkers(settings, self.num_workers, folder, console.warn, console.say)
                with workers, disk.named_in_errors(cannot_save):

                    def check(seen: Job) -> str | None:
                        interruption.check()
                        is_full = cannot_save()
                        disk.look(is_full, console)
                        workers.check(seen.done)
                        return "free space on the disk" if is_full else None

                    code = self._deliver(fingerprint, settings, workers, check, console)
            if self.embedded:
                shutil.rmtree(folder, ignore_errors=True)
        return code

    def _server(self, folder: Path) -> AbstractContextManager[EmbeddedServer | None]:
        return EmbeddedServer(folder) if self.embedded else nullcontext()

    def _settings(self, server: EmbeddedServer | None) -> Settings:
        """Return the settings with the URL of the server in use."""
        return self.settings if server is None else msgspec.structs.replace(self.settings, redis_url=server.url)

    def _deliver(
        self,
        fingerprint: str,
        settings: Settings,
        workers: LocalWorkers,
        check: Callable[[Job], str | None],
        console: Console,
    ) -> ExitCode:
        client = open_client(settings)
        store = client.store
        job = self._job(client, fingerprint, console)
        try:
            ended = watch_job(store, job.id, console, check=check)
        except LocalWorkerFailed:
            _forget_if_untouched(store, job.id)
            raise
        except KeyboardInterrupt:
            console.say("Stopping. Finished lines are kept. Run the same command to continue.")
            raise
        workers.ask_to_stop()
        try:
            counts = self.target.write(store, ended)
            self.target.write_stats(store.jobs.stats(ended.id))
        except ResultsMissing as error:
            hint = "Run the same command to run these lines again." if self.embedded else error.hint
            raise StoreDamaged(error.message, hint) from error
        except OutputNotWritable as error:
            raise OutputNotWritable(error.message, f"{error.hint} {self._kept(ended.id)}".strip()) from error
        report_end(store.jobs, ended, console)
        for warning in counts.warnings():
            console.warn(warning)
        return code_of_job(ended)

    def _kept(self, job_id: str) -> str:
        """Return a sentence that tells how to write the results that could not be written."""
        if self.embedded:
            return "The results are kept. Run the same command to write them."
        return f"The results are kept. Write them with `qwen-batch results {job_id} -o FILE`."

    def _job(self, client: JobClient, fingerprint: str, console: Console) -> Job:
        earlier = job_to_resume(client.store, fingerprint, undelivered=self.embedded)
        if earlier is not None:
            console.say(
                f"Continuing the interrupted run of this file: {earlier.done:,} of {earlier.spec.num_lines:,} "
                "lines are finished."
            )
            return earlier
        job = client.submit(self.checked, self.options).job
        client.store.submissions.remember_run(fingerprint, job.id)
        return job


def _forget_if_untouched(store: JobStore, job_id: str) -> None:
    """Delete the job if it has no finished line. Its model is unusable: a later `run` must not resume the job."""
    with suppress(QwenBatchError):  # the worker's error is the one to report
        if store.jobs.get(job_id).done == 0:
            store.control.request_cancel(job_id)
            store.control.delete(job_id)
