"""The Python door of qwen-batch: submit rows, and read the results. docs/python.md shows how.

It does what the commands do, through the same client. It imports no torch.
"""

from jobs.errors import (
    InvalidInput,
    JobConflict,
    JobNotFound,
    ModelUnusable,
    OutputNotWritable,
    QwenBatchError,
    ResultsMissing,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
)
from jobs.records.completion import LineError, Usage
from jobs.stats.stats import JobStats
from qwen_batch.client import Client, connect, job, submit
from qwen_batch.job_handle import Job
from qwen_batch.local_server import LocalServer, local
from qwen_batch.results import Choice, Result

__all__ = [
    "Choice",
    "Client",
    "InvalidInput",
    "Job",
    "JobConflict",
    "JobNotFound",
    "JobStats",
    "LineError",
    "LocalServer",
    "ModelUnusable",
    "OutputNotWritable",
    "QwenBatchError",
    "Result",
    "ResultsMissing",
    "StoreDamaged",
    "StoreFull",
    "StoreUnavailable",
    "Usage",
    "connect",
    "job",
    "local",
    "submit",
]
