"""A template makes texts that are embedded."""

from __future__ import annotations

import io
import json
from typing import Any

from jobs.files.formats.line_decoder import LineDecoder, LineRules
from jobs.files.reading.row import TemplatedRow
from jobs.files.reading.row_prompts import PromptOptions
from jobs.files.reading.row_reader import ReadingOptions, RowReader
from jobs.records.prompt import EmbedWish


def templated(row: dict[str, Any], template: str) -> TemplatedRow:
    content = json.dumps(row).encode()
    options = ReadingOptions(prompts=PromptOptions(template, embed=True))
    with RowReader.of("file", lambda: io.BytesIO(content), options).rows() as rows:
        ((_, found),) = rows
    assert isinstance(found, TemplatedRow)
    return found


def test_a_template_makes_a_text_to_embed() -> None:
    row = templated({"id": "k", "text": "Why?", "embed": "old"}, "Q: {{ text }}")
    assert row.line == {"embed": "Q: Why?", "id": "k"}
    prompt = LineDecoder(LineRules()).decode_templated(row, 0, 1)
    assert (prompt.id, prompt.text, prompt.endpoint, prompt.embed) == ("k", "Q: Why?", "embeddings", EmbedWish())
    assert json.loads(bytes(prompt.columns)) == {"text": "Why?", "embed": "old"}


def test_a_row_without_a_text_to_embed_is_a_bad_line() -> None:
    prompt = LineDecoder(LineRules()).decode_templated(templated({"text": ""}, "{{ text }}"), 0, 1)
    assert prompt.endpoint == "embeddings"
    assert "not empty" in str(prompt.invalid)
