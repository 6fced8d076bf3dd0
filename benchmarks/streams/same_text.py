"""Compare streamed answers with whole ones: python -m benchmarks.streams.same_text [--prompts 500] [--seed N]

A private server, the HTTP service and one worker with the demo model run here. Each prompt is answered once whole and
once as a stream, by OpenAI's client. The prompts differ in what may be cut, held back or split. They have stop strings
that begin and end inside of tokens, emoji, thoughts, several choices, or random text. Texts, thoughts, finish reasons
and token counts must be equal. Exits with 1 if one is not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from benchmarks.http_load.service import MODEL, serving
from jobs.records.model_card import builtin_demo_folder
from testing.processes.valkey import running_valkey
from testing.processes.worker_under_test import WorkerUnderTest

AT_ONCE = 12
EMOJI = "(\N{GRINNING FACE}|\N{FAMILY}|\N{SPARKLES}|é|ab|, ){8,30}"  # what some answers must look like
QUESTIONS = (
    "What is {a} + {b}?",
    "Count from {a} to {c}.",
    "Which is larger, {a} or {b}?",
    "Repeat this: Grüße, 世界 \N{GRINNING FACE}\N{FAMILY}\N{WAVING HAND SIGN} {a}",
    "Write {a} in words. \N{SPARKLES}",
)


@dataclass
class Answer:
    """The text and the facts that a client has read from one answer."""

    texts: dict[int, str] = field(default_factory=dict)  # by choice
    thoughts: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, str | None] = field(default_factory=dict)
    usage: tuple[int, int] | None = None  # tokens of the prompt and of all choices


def new_body(luck: random.Random, number: int, think_id: int) -> dict[str, Any]:
    """Return the body of one request, without stop strings. `think_id` is the token with which a thought begins."""
    a, b = luck.randrange(100), luck.randrange(100)
    question = QUESTIONS[number % len(QUESTIONS)].format(a=a, b=b, c=a + 5)
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": question}]}
    body |= {"seed": number, "temperature": luck.choice([0.0, 0.7, 1.5, 3.0])}
    body["max_tokens"] = luck.choice([1, 12, 40, 80])
    extra: dict[str, Any] = {"ignore_eos": luck.random() < 0.5}
    extra["chat_template_kwargs"] = {"enable_thinking": luck.random() < 0.5}
    if luck.random() < 0.2:
        body["n"] = 2
    if luck.random() < 0.2:
        extra["include_stop_str_in_output"] = True
    if number % 4 == 2:
        extra |= {"structured_outputs": {"regex": EMOJI}, "ignore_eos": False}
    elif number % 4 == 3:  # the demo model does not think by itself
        extra["logit_bias"] = {str(think_id): luck.choice([6, 9, 12])}
        extra |= {"thinking_token_budget": luck.randint(3, 20), "chat_template_kwargs": {"enable_thinking": True}}
        body["max_tokens"] = 100  # room for the sentence that ends a thought
    return body | {"extra_body": extra}


def stops_inside(luck: random.Random, text: str) -> list[str]:
    """Return stop strings that occur in a text at any place, whatever its tokens are, and one that does not occur."""
    places = [luck.randrange(len(text)) for _ in range(2)] if text else []
    found = {text[place : place + luck.randint(1, 6)] for place in places}
    return [*sorted(found), "\N{SNOWMAN} never"]


async def whole(client: AsyncOpenAI, body: dict[str, Any]) -> Answer:
    """Return an answer that came at once."""
    found, answer = await client.chat.completions.create(**body), Answer()
    for choice in found.choices:
        answer.texts[choice.index] = choice.message.content or ""
        answer.thoughts[choice.index] = getattr(choice.message, "reasoning_content", None) or ""
        answer.reasons[choice.index] = choice.finish_reason
    answer.usage = (found.usage.prompt_tokens, found.usage.completion_tokens)
    return answer


async def streamed(client: AsyncOpenAI, body: dict[str, Any], wants_usage: bool) -> Answer:
    """Return an answer that came in pieces. Raises `RuntimeError` if the token counts come unasked."""
    texts: defaultdict[int, str] = defaultdict(str)
    thoughts: defaultdict[int, str] = defaultdict(str)
    answer = Answer(texts, thoughts)
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if wants_usage else {}
    async for chunk in await client.chat.completions.create(**body, stream=True, **more):
        if chunk.usage is not None:
            answer.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            thoughts[choice.index] += getattr(choice.delta, "reasoning_content", None) or ""
            if choice.finish_reason is not None:
                answer.reasons[choice.index] = choice.finish_reason
    if (answer.usage is not None) != wants_usage:
        raise RuntimeError(f"token counts: {answer.usage}, asked for: {wants_usage}")
    return answer


async def compare(client: AsyncOpenAI, number: int, seed: int, think_id: int, seen: Counter[str]) -> str | None:
    """Answer one prompt both ways. Returns what differs, or None."""
    luck = random.Random(f"{seed}/{number}")
    body, wants_usage = new_body(luck, number, think_id), luck.random() < 0.5
    first = await whole(client, body)
    if luck.random() < 0.6:
        body["stop"], before = stops_inside(luck, first.texts[0]), first.texts
        first = await whole(client, body)
        seen["that a stop string cut"] += first.texts != before
    second = await streamed(client, body, wants_usage)
    if not wants_usage:
        second.usage = first.usage
    seen["prompts"] += 1
    seen["with a thought"] += any(first.thoughts.values())
    seen["with an emoji"] += any(character > "\uffff" for text in first.texts.values() for character in text)
    second = Answer(dict(second.texts), dict(second.thoughts), second.reasons, second.usage)
    return None if first == second else f"{body}\n  whole:    {first}\n  streamed: {second}"


async def compare_all(port: int, prompts: int, seed: int) -> list[str]:
    """Compare all prompts, some at once. Returns the differences."""
    gate, seen = asyncio.Semaphore(AT_ONCE), Counter[str]()
    tokenizer = json.loads((builtin_demo_folder() / "tokenizer.json").read_text())
    think_id = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == "<think>")
    address = f"http://127.0.0.1:{port}/v1"
    async with AsyncOpenAI(base_url=address, api_key="none", max_retries=0, timeout=120) as client:

        async def one(number: int) -> str | None:
            async with gate:
                return await compare(client, number, seed, think_id, seen)

        found = await asyncio.gather(*map(one, range(prompts)))
    print(", ".join(f"{count} {what}" for what, count in seen.items()))
    return [difference for difference in found if difference is not None]


def main() -> None:
    """Start everything and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_valkey(Path(name)) as valkey:
        settings = {"redis_url": valkey.url, "model": "demo", "device": "cpu", "threads": "1", "compile": "false"}
        with serving(valkey, Path(name)) as service, WorkerUnderTest(settings, Path(name) / "worker.log") as worker:
            worker.wait_until(service.store, "idle")
            began = time.perf_counter()
            differences = asyncio.run(compare_all(service.port, said.prompts, said.seed))
            print(f"{time.perf_counter() - began:.1f} s; different: {len(differences)} of {said.prompts}")
    for difference in differences:
        print(difference)
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
