"""A chat template, which comes with a model, cannot take the time or the memory of the process that uses it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.templates.template_process import TemplateDamaged, TemplateProcess
from model.memory.peak_memory import peak_cpu_memory_bytes
from model.text.chat_template import ChatTemplate, Conversation
from testing.processes.quick_interpreter import quick_interpreter

DOUBLE = "{% set ns = namespace(v='ab') %}{% for i in range(29) %}{% set ns.v = ns.v ~ ns.v %}{% endfor %}"
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
TOO_LARGE = [
    DOUBLE,
    "{{ '%999999999d' % messages | length }}",
    "{{ messages[0].content | center(999999999) }}",
    "{{ '{:999999999}'.format(messages | length) }}",
    "{{ range(99999) | join(messages[0].content * 9999) }}",
    "{{ (messages[0].content * 99999) | replace('h', messages[0].content * 9999) }}",
    "{{ messages | tojson(indent=999999999) }}",
    "{{ messages[0].content * 999999999 }}",
    "{{ messages[0].content * 50000000 }}",
]


def says(content: str) -> Conversation:
    return Conversation([{"role": "user", "content": content}], None, {})


def render(template: ChatTemplate, contents: Sequence[str]) -> list[str]:
    """Each text, or the reason why there is none."""
    return [str(text) for text in template.render(map(says, contents))]


def helpers(process: psutil.Process | None = None) -> list[psutil.Process]:
    """The helper processes of this process or another one, zombies included."""
    children: list[psutil.Process] = (process or psutil.Process()).children()
    return children


@pytest.fixture(autouse=True)
def no_helper_stays() -> Iterator[None]:
    quick_interpreter(workers=False)  # starts a process that stays
    before = helpers()
    yield
    assert [each for each in helpers() if each not in before] == []


@pytest.fixture
def forked_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The helpers of one test are forks. The tests that stop or kill their helper need it to be a child of theirs."""
    monkeypatch.setattr(sys, "executable", quick_interpreter(workers=False))


@pytest.mark.usefixtures("forked_helpers")
@pytest.mark.parametrize("source", TOO_LARGE)
def test_a_template_that_takes_too_much_memory_fails_by_name_and_takes_none_here(source: str) -> None:
    peak = peak_cpu_memory_bytes()
    (said,) = render(ChatTemplate({"default": source}, {}), ["hi"])
    assert said == ("the model's chat template cannot render these messages: it took more than 64 MiB of memory")
    assert peak_cpu_memory_bytes() - peak < 50e6


def test_a_template_that_does_not_end_fails_by_name() -> None:
    (said,) = render(ChatTemplate({"default": LOOP}, {}), ["hi"])
    assert said == "the model's chat template cannot render these messages: it ran for more than 2 s"


@pytest.mark.usefixtures("forked_helpers")
@pytest.mark.parametrize(
    ("bomb", "contents"), [(DOUBLE, ["a", "bad", "b", "bad", "bad", "c"]), (LOOP, ["a", "bad", "b"])]
)
def test_a_conversation_on_which_the_template_fails_fails_alone(bomb: str, contents: list[str]) -> None:
    source = "{% if messages[0].content == 'bad' %}" + bomb + "{% endif %}{{ messages[0].content }}"
    texts = render(ChatTemplate({"default": source}, {}), contents)
    good = [text for text in contents if text != "bad"]
    assert [text for text in texts if "cannot render" not in text] == good
    assert ["cannot render" in text for text in texts] == [text == "bad" for text in contents]


def test_a_template_that_cannot_be_compiled_within_the_limits_is_damaged() -> None:
    with pytest.raises(TemplateDamaged, match="while it was compiled it"):
        ChatTemplate({"default": "{{ 'a' }}" * 2_000_000}, {})


def test_a_long_conversation_may_take_more_memory_than_a_short_one() -> None:
    content = "x" * 9_000_000 + "\N{GRINNING FACE}"  # four bytes a character in memory
    (text,) = render(ChatTemplate({"default": "{{ '<' + messages[0].content + '>' }}"}, {}), [content])
    assert text == f"<{content}>"


def test_many_conversations_of_all_sizes_come_back_in_order() -> None:
    contents = [f"{number} " * (1 if number % 50 else 300_000) for number in range(400)]
    assert render(ChatTemplate({"default": "{{ messages[0].content }}"}, {}), contents) == contents


def test_several_threads_share_one_helper() -> None:
    template = ChatTemplate({"default": "{{ messages[0].content }}"}, {})
    before = helpers()
    failed: list[Any] = []

    def work(name: str) -> None:
        contents = [f"{name}{number}" for number in range(200)]
        failed.extend(each for each in range(3) if render(template, contents) != contents)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert helpers() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_helper_that_somebody_killed_is_replaced_and_no_conversation_fails(number: int) -> None:
    others = helpers()
    template = ChatTemplate({"default": "{{ messages[0].content }}"}, {})
    for _ in range(3):
        (helper,) = [each for each in helpers() if each not in others]
        helper.send_signal(number)
        assert render(template, ["a", "b"]) == ["a", "b"]
        assert not helper.is_running()


def numbers(*values: int) -> list[bytes]:
    """Requests that render a number each."""
    return [b'["t",{"x":%d}]' % value for value in values]


def test_several_groups_can_be_sent_before_the_first_answers_are_taken() -> None:
    process = TemplateProcess({"t": "{{ x }}"})
    first, second, third = [process.begin(numbers(n, n + 1)) for n in (1, 3, 5)]
    assert third() == ["5", "6"]
    assert first() == ["1", "2"]
    assert process.render(numbers(7)) == ["7"]
    assert second() == second() == ["3", "4"]


def test_a_helper_that_is_killed_before_its_answers_are_taken_is_replaced() -> None:
    others = helpers()
    process = TemplateProcess({"t": "{{ x }}"})
    for _ in range(3):
        (helper,) = [each for each in helpers() if each not in others]
        helper.suspend()  # it cannot have answered
        answers = process.begin(numbers(1, 2))
        helper.kill()
        assert answers() == ["1", "2"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_helper_outlives_the_signals_that_ask_its_parent_to_finish(number: int) -> None:
    others = helpers()
    template = ChatTemplate({"default": "{{ messages[0].content }}"}, {})
    assert render(template, ["a"]) == ["a"]
    (helper,) = [each for each in helpers() if each not in others]
    helper.send_signal(number)
    assert render(template, ["b"]) == ["b"]
    assert helper.is_running()


PARENT = """
import sys
from model.text.chat_template import ChatTemplate, Conversation
template = ChatTemplate({"default": sys.argv[1]}, {})
print("ready", flush=True)
list(template.render([Conversation([{"role": "user", "content": "hi"}], None, {})]))
print("rendered", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("source", ["{{ 1 }}", LOOP], ids=["idle", "busy"])
def test_the_helper_ends_when_its_parent_is_killed(source: str) -> None:
    command = [sys.executable, "-P", "-c", PARENT, source]  # `tests` has a folder named `model`
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        (helper,) = helpers(psutil.Process(parent.pid))
        if source != LOOP:
            assert parent.stdout.readline() == "rendered\n"
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 60
        while helper.is_running() and helper.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_helper_starts_without_torch_and_without_this_folder_on_its_path(tmp_path: Path) -> None:
    (tmp_path / "jinja2.py").write_text("raise SystemExit(9)")
    before = Path.cwd()
    with contextlib.chdir(tmp_path):
        assert render(ChatTemplate({"default": "{{ 1 }}"}, {}), ["hi"]) == ["1"]
    assert Path.cwd() == before
    script = (
        "import sys, jobs.templates.template_server; sys.exit('torch' in sys.modules or 'tokenizers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", script], env=dict(os.environ), check=False).returncode == 0
