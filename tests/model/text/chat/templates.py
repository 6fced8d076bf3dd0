"""The chat templates of the four kinds of Qwen3 models. They differ in how they begin the assistant's turn."""

from __future__ import annotations

from pathlib import Path

_HYBRID = Path(__file__).resolve().parents[4] / "tools" / "demo_model" / "chat_template.jinja"
_SWITCH = """
    {%- if enable_thinking is defined and enable_thinking is false -%}
        {{- '<think>\\n\\n</think>\\n\\n' -}}
    {%- endif -%}"""

HYBRID = _HYBRID.read_text()  # Qwen3-0.6B to 32B: begins no thought, or writes an empty one if thinking is off
INSTRUCT = HYBRID.replace(_SWITCH, "")  # Qwen3-4B-Instruct-2507: knows no switch
THINKING = HYBRID.replace(_SWITCH, "\n    {{- '<think>\\n' -}}")  # Qwen3-4B-Thinking-2507: always begins a thought
assert len({HYBRID, INSTRUCT, THINKING}) == 3
