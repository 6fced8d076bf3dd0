"""The report of a job's end, for commands that wait for a job."""

from __future__ import annotations

from cli.console.console import Console
from cli.console.progress import watch_job
from cli.console.summary import summary_of
from cli.exit_codes import ExitCode, code_of_job
from jobs.records.job import Job, JobState
from jobs.stores.protocol import JobStore


def watch_to_the_end(store: JobStore, job_id: str, console: Console, *, as_json: bool = False) -> ExitCode:
    """Watch a job until it ends, then report how it ended. Ctrl-C ends only the watching."""
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
    """Print the summary of an ended job, with a warning if the job or a line of it failed."""
    console.say_table(summary_of(store.stats(job.id)))
    if job.state is not JobState.COMPLETED:
        reason = f": {job.error}" if job.error else ""
        console.warn(f"The job is {job.state.value}{reason}. It has {job.completed:,} completed lines.")
    elif job.failed:
        console.warn(f"{job.failed:,} of {job.spec.num_lines:,} lines failed; their results say why.")
