"""Stands for the Python interpreter: programs that a forking server has imported become forks of that server.

A fork gets this process's open files, folder and environment. This process passes its signals on, and ends as the fork
ends. Words that start no such program go to the interpreter itself. Only what takes no time to load is imported,
because this program runs hundreds of times. `testing.processes.quick_interpreter` writes the program that calls it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the wrappers of these two take longer to load than the rest
import _socket
import marshal
import os
import sys

TYPE_CHECKING = False  # the module `typing` takes longer to load than the rest
if TYPE_CHECKING:
    from collections.abc import Mapping

# What an interpreter reads when it starts. A fork cannot take it into account.
FOR_NEW_INTERPRETERS = ("PYTHON", "LC_", "LANG", "LD_")
_PASSED_ON = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1)

Program = tuple[tuple[str, ...], tuple[str, ...], str, str]  # first words, next words, function to call, door


def main(interpreter: str, programs: list[Program], expected: dict[str, str], quick: str) -> None:
    """Become the program that the words name.

    Args:
        interpreter: Path of the interpreter.
        programs: The programs that are forked. The first one counts whose words are these.
        expected: The variables for new interpreters with which the forking servers were started.
        quick: What the forks take for the interpreter.
    """
    words = tuple(sys.argv[1:])
    found = {name: value for name, value in os.environ.items() if name.startswith(FOR_NEW_INTERPRETERS)}
    for first, following, function, door in programs:
        start = (*first, *following)
        if found == expected and words[: len(start)] == start:
            order = {
                "main": function,
                "start": (interpreter, *first),
                "words": words[len(first) :],
                "environment": dict(os.environ),
                "folder": os.getcwd(),  # noqa: PTH109 - pathlib takes longer to load than the rest
                "interpreter": quick,
            }
            _fork(order, door)
    os.execv(interpreter, (interpreter, *words))  # noqa: S606 - ourselves


def _fork(order: Mapping[str, object], door: str) -> None:
    """Ask for a fork, and end as it ends."""
    passed = _inherited()
    order_file = os.memfd_create("order")
    os.write(order_file, marshal.dumps({**order, "passed": passed}))
    reader, writer = os.pipe()
    files = (order_file, 0, 1, 2, writer, *passed)
    described = b"".join(file.to_bytes(4, sys.byteorder) for file in files)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(door)
    connection.sendmsg([b"!"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, described)])
    connection.close()
    for file in (writer, *passed):
        os.close(file)
    with open(reader, "rb", buffering=0) as said:  # noqa: PTH123
        pid = int(said.readline())
        for number in _PASSED_ON:
            _signal.signal(number, lambda number, _: os.kill(pid, number))
        code = int(said.readline())
    if code >= 0:
        os._exit(code)
    _signal.signal(-code, _signal.SIG_DFL)
    os.kill(os.getpid(), -code)


def _inherited() -> tuple[int, ...]:
    """Return the descriptors, besides the standard streams, that were passed to this process."""
    passed = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                passed.append(int(name))
        except OSError:  # the listed folder's own
            continue
    return tuple(passed)
