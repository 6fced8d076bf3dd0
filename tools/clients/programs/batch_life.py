"""Batches with OpenAI's client for Python: from the upload to both files, and to a cancellation.

python -m tools.clients.programs.batch_life ADDRESS
"""

from __future__ import annotations

import sys

import openai
from openai import OpenAI
from openai.types.chat import ChatCompletion
from openai.types.shared import ErrorObject

from tools.clients.programs.batches import (
    TOO_LONG,
    both_files,
    chat_line,
    client_of,
    counts_of,
    file_of,
    ids_of,
    long_line,
    new_batch,
    wait_for,
)
from tools.clients.programs.report import Report, Wrong, expect

GOOD = [f"good-{number}" for number in range(12)]
BAD = [f"bad-{number}" for number in range(3)]
SHORT = [f"short-{number}" for number in range(6)]
LONG = [f"long-{number}" for number in range(60)]


def whole_life(client: OpenAI) -> str:
    """Run a batch of which some lines fail. Returns the figures."""
    content = file_of([*map(chat_line, GOOD), *(chat_line(custom_id, TOO_LONG) for custom_id in BAD)])
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    expect("the file of the upload", client.files.content(file.id).content == content, True)
    batch = new_batch(client, file.id, hours=2, team="é", run="7")
    expect("the status of a new batch", batch.status, "validating")
    done = wait_for(client, batch.id)
    expect("the status", (done.status, done.errors), ("completed", None))
    expect("metadata", done.metadata, {"team": "é", "run": "7"})
    expect("counts", counts_of(done), (len(GOOD) + len(BAD), len(GOOD), len(BAD)))
    output, errors = both_files(client, done)
    expect("ids of the results", ids_of(output), GOOD)
    expect("ids of the errors", ids_of(errors), BAD)
    answers = [ChatCompletion.model_validate(line["response"]["body"], strict=True) for line in output]
    expect("texts", {answer.choices[0].message.content for answer in answers}, {"5"})
    for line in errors:
        expect("the status of a bad line", line["response"]["status_code"], 400)
        error = ErrorObject.model_validate(line["response"]["body"]["error"], strict=True)
        expect("the code of a bad line", error.code, "context_length_exceeded")
    for file_id in (done.output_file_id, done.error_file_id):
        results = client.files.retrieve(str(file_id))
        expect("the lifetime of the results", (results.expires_at or 0) - results.created_at, 7200)
        expect("the purpose of the results", results.purpose, "batch_output")
    return f"{len(output)} results and {len(errors)} errors parse; metadata and output_expires_after come back"


def cancellation(client: OpenAI) -> str:
    """Cancel a batch when some of its lines have ended. Returns the figures."""
    lines = [*map(chat_line, SHORT), *map(long_line, LONG)]
    file = client.files.create(file=("in.jsonl", file_of(lines)), purpose="batch")
    running = wait_for(client, new_batch(client, file.id).id, completed=1)
    expect("the status before", running.status, "in_progress")
    cancelled = client.batches.cancel(running.id)
    if cancelled.status not in ("cancelling", "cancelled"):
        raise Wrong(f"the status is {cancelled.status} after the request")
    done = wait_for(client, running.id)
    expect("the status after", done.status, "cancelled")
    output, errors = both_files(client, done)
    expect("counts", counts_of(done), (len(lines), len(output), len(errors)))
    expect("ids", sorted(ids_of(output) + ids_of(errors)), sorted(SHORT + LONG))
    expect("codes of the errors", {line["error"]["code"] for line in errors}, {"batch_cancelled"})
    return f"{len(output)} lines had ended, {len(errors)} say batch_cancelled"


def main() -> None:
    """Run both."""
    client, report = client_of(sys.argv[1]), Report(f"openai {openai.__version__}")
    report.check("a batch from the upload to both files", lambda: whole_life(client))
    report.check("a batch that is cancelled while it runs", lambda: cancellation(client))
    report.exit()


if __name__ == "__main__":
    main()
