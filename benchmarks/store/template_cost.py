"""Measure the processor time per conversation of the helper process for chat templates, and of this process.

    python -m benchmarks.store.template_cost [--lines 100000] [--model FOLDER]

A conversation has two short messages. 64 conversations are rendered together, like the lines of a shard.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from jobs.records.model_card import builtin_demo_folder
from model.text.chat_template import ChatTemplate, Conversation

TOGETHER = 64


def main() -> None:
    """Measure, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--model", type=Path, default=builtin_demo_folder())
    options = parser.parse_args()

    template = ChatTemplate.from_folder(options.model)
    assert template is not None
    started_at = time.process_time()
    for first in range(0, options.lines, TOGETHER):
        numbers = range(first, min(first + TOGETHER, options.lines))
        assert all(isinstance(text, str) for text in template.render(map(_conversation, numbers)))
    here = time.process_time() - started_at
    del template  # ends the helper, whose time is known then
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    helper = used.ru_utime + used.ru_stime
    print(f"{here / options.lines * 1e6:.0f} µs a conversation here, {helper / options.lines * 1e6:.0f} in the helper")


def _conversation(number: int) -> Conversation:
    system = {"role": "system", "content": "You are a helpful assistant."}
    user = {"role": "user", "content": f"What is {number} + 48? " * 10}
    return Conversation([system, user], None, {"add_generation_prompt": True})


if __name__ == "__main__":
    main()
