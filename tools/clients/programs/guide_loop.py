"""The loop of OpenAI's guide to batches: python -m tools.clients.programs.guide_loop ADDRESS FOLDER

Between the two marks, only the path, `base_url` and the loop's pause are ours. The lines name another model.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import openai
from openai import OpenAI

from tools.clients.programs.report import Report, expect

LINES = """\
{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "demo", "messages": \
[{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "Hello world!"}], \
"max_tokens": 1000}}
{"custom_id": "request-2", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "demo", "messages": \
[{"role": "system", "content": "You are an unhelpful assistant."}, {"role": "user", "content": "Hello world!"}], \
"max_tokens": 1000}}
"""


def run_guide(base_url: str, path: Path) -> str:
    """Do what the guide does. Returns the text of the output file."""
    # The guide begins.
    client = OpenAI(base_url=base_url, api_key="none")
    batch_input_file = client.files.create(file=path.open("rb"), purpose="batch")
    batch_input_file_id = batch_input_file.id
    batch = client.batches.create(
        input_file_id=batch_input_file_id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"description": "nightly eval job"},
    )
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    file_response = client.files.content(batch.output_file_id or "")
    return file_response.text
    # The guide ends.


def loop(base_url: str, path: Path) -> str:
    """Check what the guide prints. Returns the figures."""
    path.write_text(LINES, encoding="utf-8")
    answers = {line["custom_id"]: line for line in map(json.loads, run_guide(base_url, path).splitlines())}
    expect("ids", sorted(answers), ["request-1", "request-2"])
    for answer in answers.values():
        expect("the status of a line", answer["response"]["status_code"], 200)
        text = answer["response"]["body"]["choices"][0]["message"]["content"]
        expect("whether there is a text", bool(text), True)
    return f"{len(answers)} answers"


def main() -> None:
    """Run it."""
    report = Report(f"openai {openai.__version__}")
    report.check("the loop of the guide", lambda: loop(f"{sys.argv[1]}/v1", Path(sys.argv[2]) / "batchinput.jsonl"))
    report.exit()


if __name__ == "__main__":
    main()
