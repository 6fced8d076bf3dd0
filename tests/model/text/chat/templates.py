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

# The part of Qwen3-Coder's template that calls are about, written anew. It writes a value as Python does, unless the
# value is a list or an object.
XML_CALLS = """
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role -}}
    {{- '\\n' + message.content if message.content -}}
    {%- for call in message.tool_calls or [] -%}
        {{- '\\n<tool_call>\\n<function=' + call.function.name + '>\\n' -}}
        {%- for name, value in call.function.arguments | items -%}
            {%- set is_json = value is mapping or (value is sequence and value is not string) -%}
            {{- '<parameter=' + name + '>\\n' -}}
            {{- value | tojson if is_json else value | string -}}
            {{- '\\n</parameter>\\n' -}}
        {%- endfor -%}
        {{- '</function>\\n</tool_call>' -}}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' if add_generation_prompt -}}
"""
