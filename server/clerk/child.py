"""A child process of the clerk: `python -m server.clerk.child OPTIONS`.

It reads orders from its standard input, one per line: `import_batch PROJECT/BATCH` or `finish_batch PROJECT/BATCH`.
After each it writes `DONE` to its standard output. It ends when its input ends, and with an error if an order fails.
"""

from __future__ import annotations

import os
import sys

import msgspec

from jobs.batches.agenda import Entry
from jobs.queue.celery_hints import CeleryHints
from jobs.settings import Settings
from jobs.submission.job_client import JobClient
from server.clerk.children import DONE
from server.clerk.finish_batch import finish_batch
from server.clerk.import_batch import import_batch
from server.logs import set_up_logs
from server.options import ServeOptions
from server.stores import open_stores


def main(arguments: list[str]) -> int:
    """Follow orders until there are no more. Returns the exit code."""
    options, settings = msgspec.json.decode(arguments[0], type=ServeOptions), Settings.from_env()
    set_up_logs(settings.log_level)
    reports = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed is no report
    stores = open_stores(settings, options.files)
    client = JobClient(stores.jobs, CeleryHints(settings.redis_url))
    for order in sys.stdin:
        work, _, batch = order.strip().partition(" ")
        entry = Entry.of(batch)
        if work == "import_batch":
            import_batch(stores, client, entry.project, entry.id, options)
        else:
            finish_batch(stores, entry.project, entry.id)
        os.write(reports, DONE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
