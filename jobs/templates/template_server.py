"""The helper process that renders templates: `python -P -m jobs.templates.template_server`.

A chat template comes with a model, so it is not trusted. A template for rows may be wrong. Both run in jinja2's
immutable sandbox, in a separate process. The kernel limits that process's CPU time and memory. The parent's side is
`jobs.templates.template_process`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jobs.templates.plain_template import Part
from jobs.templates.template_process import (
    CPU_SECONDS,
    FAILED,
    MEMORY_BYTES,
    MEMORY_PER_REQUEST_BYTE,
    OUT_OF_MEMORY,
    RENDERED,
    head,
)

_NAMES_OF_JINJA = frozenset({"caller", "loop", "self", "super"})  # they may mean no variable


def main() -> None:
    """Answer frames until the parent closes the pipe or ends."""
    for unwanted in (signal.SIGINT, signal.SIGTERM):  # meant for the parent; this process ends with its pipe
        signal.signal(unwanted, signal.SIG_IGN)
    answers, limits = sys.stdout.buffer, Limits()
    templates: Mapping[str, jinja2.Template] | None = None
    cpu_seconds = CPU_SECONDS
    try:
        for request in _requests(sys.stdin.buffer):
            with limits.of(request, cpu_seconds):
                if templates is None:
                    setup = json.loads(request)
                    cpu_seconds = setup["cpu_seconds"]
                    templates, answer = _compile(setup["sources"], setup["strict"])
                else:
                    answer = _render(templates, request)
                answers.write(head(answer))
                answers.write(answer)
                answers.flush()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)


def _requests(source: BinaryIO) -> Iterator[bytes]:
    """Yield each request until the parent closes the pipe."""
    while head := source.read(4):
        batch = BytesIO(source.read(int.from_bytes(head, "big")))
        while inner := batch.read(4):
            yield batch.read(int.from_bytes(inner, "big"))


class Limits:
    """Limits that the kernel enforces: it ends this process after too much CPU time, and refuses too much memory."""

    def __init__(self) -> None:
        self._start_bytes = _address_space_bytes()

    @contextmanager
    def of(self, request: bytes, cpu_seconds: float) -> Iterator[None]:
        """Limit CPU time and memory while one request is rendered.

        The limits end with the block, so that a request of any size can be read next.
        """
        self._limit_memory(MEMORY_BYTES + MEMORY_PER_REQUEST_BYTE * len(request))
        # SIGPROF ends the process. Its timer counts CPU time, so a busy machine causes no failures.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        yield
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._limit_memory(None)

    def _limit_memory(self, more_bytes: int | None) -> None:
        if self._start_bytes is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            soft = hard if more_bytes is None else self._start_bytes + more_bytes
            if hard != resource.RLIM_INFINITY:
                soft = min(soft, hard)  # a lower limit set by the user still applies
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space_bytes() -> int | None:
    """Return the bytes that this process has mapped, or None if the kernel cannot limit them (macOS)."""
    if sys.platform != "linux":
        return None
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _compile(sources: Mapping[str, str], strict: bool) -> tuple[dict[str, jinja2.Template], bytes]:
    """Compile the templates in `{name: source}`. Returns them by name, with the answer to the parent.

    The answer is JSON: the parts of each plain template (`_plain_parts`), or the error's message and line.
    """
    environment = _environment()
    if strict:
        environment.undefined = jinja2.StrictUndefined
    try:
        plain = {name: _plain_parts(environment.parse(source)) for name, source in sources.items()}
        templates = {name: environment.from_string(source) for name, source in sources.items()}
        for template in templates.values():
            template.globals = dict(template.globals)  # jinja2 copies the names at each render, its own type slowly
        return templates, json.dumps({"plain": plain}).encode()
    except jinja2.TemplateSyntaxError as error:
        return {}, json.dumps({"message": str(error.message), "line": error.lineno}).encode()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a template can make jinja2's own compiler fail in many ways
        return {}, json.dumps({"message": _message(error), "line": 1}).encode()


def _plain_parts(template: nodes.Template) -> list[Part] | None:
    """Return the parts of a template that only puts columns between texts. None if the template does more."""
    parts = []
    for output in template.body:
        if type(output) is not nodes.Output:
            return None
        for node in output.nodes:
            part = _plain_part(node)
            if part is None:
                return None
            parts.append(part)
    return parts


def _plain_part(node: nodes.Node) -> Part | None:
    match node:
        case nodes.TemplateData(data=text):
            return "text", text
        case nodes.Name(name=name) if name not in _NAMES_OF_JINJA:
            return "column", name
        case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(name))):
            return "of row", name
        case nodes.Getattr(node=nodes.Name(name="row"), attr=name) if not hasattr(dict, name):
            return "of row", name
    return None


def _render(templates: Mapping[str, jinja2.Template], request: bytes) -> bytes:
    """Render the template of the request `[name, variables]` and return the answer."""
    try:
        name, variables = json.loads(request)
        if isinstance(variables, list):
            return RENDERED + _render_rows(templates[name], variables)
        return RENDERED + templates[name].render(variables).encode()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a template's operations can raise any error
        return FAILED + _message(error).encode()


def _render_rows(template: jinja2.Template, rows: Sequence[Mapping[str, object]]) -> bytes:
    """Render the template for each row. Returns JSON: for each row `[true, text]` or `[false, error]`.

    Besides its columns, the template sees the whole row as `row`, for columns whose names are no names of variables.
    """
    answers: list[tuple[bool, str]] = []
    for row in rows:
        template.globals["row"] = row  # a column of this name comes first
        try:
            text = template.render(row)
            text.encode()  # half of a surrogate pair is no text
            answers.append((True, text))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a template's operations can raise any error
            answers.append((False, _message(error)))
    return json.dumps(answers).encode()


def _message(error: Exception) -> str:
    text = f"{str(error) or type(error).__name__:.500}"
    return text.encode(errors="replace").decode()


class _GenerationTag(Extension):
    """The tag `{% generation %}…{% endgeneration %}`, which marks a model's text for training.

    Here it has no effect: its contents are rendered.
    """

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return plain JSON. jinja2's own filter would escape it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


if __name__ == "__main__":
    main()
