"""How the commands that wait for a job report its end."""

from __future__ import annotations

from cli.console.console import Console
from cli.console.progress import watch_job
from cli.console.summary import summary_of
from cli.exit_codes import ExitCode, code_of_job
from jobs.records.job import Job, JobState
from jobs.stores.protocol import JobStore


def watch_to_the_end(store: JobStore, job_id: str, console: Console, *, as_json: bool = False) -> ExitCode:
    """Watch a job, then say how it ended. Ctrl-C leaves the job running and says how to go on."""
    try:
        job = watch_job(store, job_id, console, as_json=as_json)
    except KeyboardInterrupt:
        console.say(f"The job continues. Watch it with `qwen-batch watch {job_id}`.")
        console.say(f"End it with `qwen-batch cancel {job_id}`.")
        return ExitCode.INTERRUPTED
    if not as_json:
        report_end(store, job, console)
    return code_of_job(job)


def report_end(store: JobStore, job: Job, console: Console) -> None:
    """The summary of an ended job on stderr, and a warning if it did not go well."""
    console.say_table(summary_of(store.stats(job.id)))
    if job.state is not JobState.COMPLETED:
        reason = f": {job.error}" if job.error else ""
        console.warn(f"The job is {job.state.value}{reason}. It has {job.completed:,} completed lines.")
    elif job.failed:
        console.warn(f"{job.failed:,} of {job.spec.num_lines:,} lines failed; their results say why.")
