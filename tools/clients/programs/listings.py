"""Listings of many files and batches, and deletions, with OpenAI's client for Python.

python -m tools.clients.programs.listings ADDRESS
"""

from __future__ import annotations

import sys

import openai
from openai import NotFoundError, OpenAI

from tools.clients.programs.batches import chat_line, client_of, file_of, new_batch, wait_for
from tools.clients.programs.report import Report, Wrong, expect

FILES, FILES_PER_PAGE = 250, 40
BATCHES, BATCHES_PER_PAGE = 45, 10


def upload(client: OpenAI, name: str) -> str:
    """Upload a file of one line. Returns its id."""
    return client.files.create(file=(name, file_of([chat_line("a")])), purpose="batch").id


def check_listing(listed: list[str], new: list[str]) -> str:
    """Compare a listing with the objects that this program has created. Returns the figures."""
    wanted = set(new)
    expect("ids that are listed twice", len(listed) - len(set(listed)), 0)
    expect("the order", [object_id for object_id in listed if object_id in wanted], new)
    return f"{len(new)} of {len(listed)} are ours, each once and in order"


def list_files(client: OpenAI, new: list[str]) -> str:
    """Create files and list them page by page, from both ends. Returns the figures."""
    new += [upload(client, f"{number}.jsonl") for number in range(FILES)]
    check_listing([file.id for file in client.files.list(limit=FILES_PER_PAGE)], new[::-1])
    return check_listing([file.id for file in client.files.list(limit=FILES_PER_PAGE, order="asc")], new)


def list_batches(client: OpenAI) -> str:
    """Create batches and list them page by page. Returns the figures."""
    file_id = upload(client, "batches.jsonl")
    new = [new_batch(client, file_id, number=str(number)).id for number in range(BATCHES)]
    figures = check_listing([batch.id for batch in client.batches.list(limit=BATCHES_PER_PAGE)], new[::-1])
    ends = {wait_for(client, batch_id).status for batch_id in new}
    expect("their ends", ends, {"completed"})
    return figures


def delete_files(client: OpenAI, new: list[str]) -> str:
    """Delete the files. Returns the figures."""
    for file_id in new:
        expect("deleted", client.files.delete(file_id).deleted, True)
    left = set(new) & {file.id for file in client.files.list(limit=FILES_PER_PAGE)}
    expect("files that are still listed", left, set())
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        try:
            call(new[0])
        except NotFoundError:
            continue
        raise Wrong(f"{call.__name__} finds a file that was deleted")
    return f"{len(new)} files are gone"


def main() -> None:
    """Run all."""
    client, report = client_of(sys.argv[1]), Report(f"openai {openai.__version__}")
    new: list[str] = []
    report.check(f"{FILES} files in pages of {FILES_PER_PAGE}", lambda: list_files(client, new))
    report.check(f"{BATCHES} batches in pages of {BATCHES_PER_PAGE}", lambda: list_batches(client))
    report.check("deletion", lambda: delete_files(client, new))
    report.exit()


if __name__ == "__main__":
    main()
