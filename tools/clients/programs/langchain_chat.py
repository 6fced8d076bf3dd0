"""Chats of LangChain, as streams and as whole answers: python -m tools.clients.programs.langchain_chat ADDRESS"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

from langchain_openai import ChatOpenAI

from tools.clients.programs.report import Report, expect

QUESTIONS = (
    "What is 2 + 3?",
    "Count from 5 to 12.",
    "Repeat this: Grüße, 世界 \N{GRINNING FACE}",
    "Write 17 in words.",
)


def same_texts(chat: Any) -> str:  # noqa: ANN401 - the package is not installed beside ours
    """Ask each question three ways: whole, as a stream, and all at once. Returns the figures."""
    whole = [chat.invoke(question).content for question in QUESTIONS]
    pieces = [[chunk.content for chunk in chat.stream(question)] for question in QUESTIONS]
    expect("streamed texts", ["".join(each) for each in pieces], whole)
    expect("texts of a batch of chats", [answer.content for answer in chat.batch(list(QUESTIONS))], whole)
    expect("the first answer", whole[0], "5")
    return f"{len(whole)} texts are the same; {sum(map(len, pieces))} pieces"


def main() -> None:
    """Run it."""
    said: dict[str, Any] = {"model": "demo", "temperature": 0, "max_tokens": 100, "max_retries": 10}
    chat = ChatOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", **said)
    report = Report(f"langchain-openai {version('langchain-openai')}")
    report.check("chats at temperature 0, streamed and whole", lambda: same_texts(chat))
    report.exit()


if __name__ == "__main__":
    main()
