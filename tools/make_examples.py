"""Writes examples/prompts.jsonl and examples/prompts-openai.jsonl: `.venv/bin/python -m tools.make_examples`."""

from __future__ import annotations

from pathlib import Path

from tools.demo_model.examples import as_jsonl, native_examples, openai_examples

_EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def main() -> None:
    """Overwrite both files."""
    (_EXAMPLES / "prompts.jsonl").write_text(as_jsonl(native_examples()), encoding="utf-8")
    (_EXAMPLES / "prompts-openai.jsonl").write_text(as_jsonl(openai_examples()), encoding="utf-8")


if __name__ == "__main__":
    main()
