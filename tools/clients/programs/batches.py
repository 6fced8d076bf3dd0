"""Lines, batches and their files, as the programs of this folder make and read them."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Sequence
from typing import Any, Literal

from openai import OpenAI
from openai.types import Batch

from tools.clients.programs.report import Wrong
from tools.clients.programs.status_laws import ENDS

MODEL = "demo"
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MAX_SECONDS = 900.0
TOO_LONG = "long " * 3000  # the demo model takes 2,048 tokens
POLL_SECONDS = 0.1
MAX_RETRIES = 10  # a busy machine makes the service answer 503; the client then waits as long as the answer says


def client_of(address: str) -> OpenAI:
    """Return OpenAI's client for the service at an address."""
    return OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=MAX_RETRIES)


def chat_line(custom_id: str, content: str = "What is 2 + 3?", **body: Any) -> str:  # noqa: ANN401 - any JSON
    """Return one line of a batch file."""
    said = {"model": MODEL, "messages": [{"role": "user", "content": content}]} | body
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": said})


def long_line(custom_id: str) -> str:
    """Return a line that takes the demo model seconds."""
    return chat_line(custom_id, "Go on.", max_tokens=1500, ignore_eos=True)


def file_of(lines: Sequence[str]) -> bytes:
    """Return the bytes of a batch file."""
    return "".join(f"{line}\n" for line in lines).encode()


def new_batch(client: OpenAI, file_id: str, hours: int | None = None, **metadata: str) -> Batch:
    """Create a batch. Its results expire after some hours. Clients before that option send it as a further key."""
    expiry: Any = {"anchor": "created_at", "seconds": 3600 * (hours or 0)}
    more: dict[str, Any] = {"metadata": metadata} if metadata else {}
    if hours is not None:
        is_known = "output_expires_after" in inspect.signature(client.batches.create).parameters
        more |= {"output_expires_after": expiry} if is_known else {"extra_body": {"output_expires_after": expiry}}
    return client.batches.create(input_file_id=file_id, endpoint=ENDPOINT, completion_window="24h", **more)


def counts_of(batch: Batch) -> tuple[int, int, int]:
    """Return the numbers of all lines, of completed ones and of failed ones."""
    counts = batch.request_counts
    if counts is None:
        raise Wrong(f"{batch.id} has no counts")
    return counts.total, counts.completed, counts.failed


def wait_for(client: OpenAI, batch_id: str, completed: int | None = None) -> Batch:
    """Poll a batch until it has ended, or until so many of its lines are completed."""
    deadline = time.monotonic() + MAX_SECONDS
    while (batch := client.batches.retrieve(batch_id)).status not in ENDS:
        if completed is not None and counts_of(batch)[1] >= completed:
            return batch
        if time.monotonic() > deadline:
            raise Wrong(f"{batch_id} is {batch.status} after {MAX_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    return batch


def results_in(text: str) -> list[Any]:
    """Return the objects of an output file or an error file."""
    return [json.loads(line) for line in text.splitlines()]


def both_files(client: OpenAI, batch: Batch) -> tuple[list[Any], list[Any]]:
    """Download the results and the errors of a batch. A file that does not exist has none."""
    output, errors = (
        [] if file_id is None else results_in(client.files.content(file_id).text)
        for file_id in (batch.output_file_id, batch.error_file_id)
    )
    return output, errors


def ids_of(results: Sequence[Any]) -> list[str]:
    """Return the ids that the results name."""
    return [result["custom_id"] for result in results]
