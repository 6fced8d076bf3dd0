"""Writes the files of examples/ that a program makes: `.venv/bin/python -m tools.make_examples`."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from tools.demo_model.data.examples import as_jsonl, native_examples, openai_examples, thinking_examples, tool_examples

_EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
_QUESTIONS = pa.table(
    {
        "id": ["q1", "q2", "q3", "q4"],
        "question": [
            "What is 2 + 3?",
            "What is 37 + 48?",
            "What is the capital of France?",
            "What is the opposite of hot?",
        ],
        "answer": ["5", "85", "Paris", "cold"],
        "level": pa.array([1, 2, 1, None], pa.int8()),
        "asked": [date(2026, 1, 5), date(2026, 1, 6), None, date(2026, 1, 8)],
        "tags": [["sum"], ["sum", "carry"], [], ["word"]],
    }
)


def main() -> None:
    """Overwrite the files."""
    (_EXAMPLES / "prompts.jsonl").write_text(as_jsonl(native_examples()), encoding="utf-8")
    (_EXAMPLES / "prompts-openai.jsonl").write_text(as_jsonl(openai_examples()), encoding="utf-8")
    (_EXAMPLES / "tools.jsonl").write_text(as_jsonl(tool_examples()), encoding="utf-8")
    (_EXAMPLES / "thinking.jsonl").write_text(as_jsonl(thinking_examples()), encoding="utf-8")
    parquet.write_table(_QUESTIONS, _EXAMPLES / "questions.parquet")


if __name__ == "__main__":
    main()
