"""The application for people who know Celery: `celery -A worker.app worker --pool threads`.

`QWEN_BATCH_*` variables set it up (`jobs.settings`). Celery wants a module with an `app` in it, so this one has it.
"""

from __future__ import annotations

from jobs.settings import Settings
from worker.process import WorkerProcess
from worker.queue.celery_glue import celery_app_of

app = celery_app_of(WorkerProcess(Settings.from_env()))
