"""The worker as a Celery application: `celery -A worker.app worker --pool threads`.

The `QWEN_BATCH_*` variables configure it (`jobs.settings`). Celery needs a module with a variable `app`.
"""

from __future__ import annotations

from jobs.settings import Settings
from worker.process import WorkerProcess
from worker.queue.celery_glue import celery_app_of

app = celery_app_of(WorkerProcess(Settings.from_env()))
