"""Operators of the kernels that run on an emulated processor: a server computes them (operator_server.cpp).

The tests of the kernels call `torch.ops.qwen_batch_cpu.*`. After `EmulatedOperators.register`, these calls go to the
server, so the tests check the emulated processor's results.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

import torch

from model.ops.library import ANY_DEVICE

# PyTorch's numbers of types, as pytorch_numbers.cpp has them.
TYPES = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float32: 6,
    torch.float64: 7,
    torch.bool: 11,
    torch.bfloat16: 15,
}
TYPE_OF_NUMBER = {number: dtype for dtype, number in TYPES.items()}


class _Answer(NamedTuple):
    kind: bytes
    text: str = ""
    changed: Sequence[torch.Tensor] = ()
    results: Sequence[object] = ()


class EmulatedOperators:
    """The operators of a server, which runs until this process ends.

    Args:
        command: Starts the server.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._is_answering = False
        self._libraries: dict[tuple[str, str], torch.library.Library] = {}

    def register(self) -> None:
        """Start the server, define its operators, and let it compute them."""
        schemas, names = self._start()
        for namespace, schema in schemas:
            self._library(namespace, "FRAGMENT").define(schema)
        for namespace, _, name in (name.partition("::") for name in names):
            key = "CPU" if namespace == "qwen_batch" else ANY_DEVICE
            self._library(namespace, "IMPL").impl(name, self._caller(namespace, name), key)

    def _start(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Start the server. Returns the operators' namespaces and schemas, and the names of those that it computes."""
        self._server = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        schemas = [(self._read_text(), self._read_text()) for _ in range(self._number("I"))]
        return schemas, [self._read_text() for _ in range(self._number("I"))]

    def _library(self, namespace: str, kind: str) -> torch.library.Library:
        if (namespace, kind) not in self._libraries:
            self._libraries[namespace, kind] = torch.library.Library(namespace, kind)
        return self._libraries[namespace, kind]

    def _caller(self, namespace: str, name: str) -> object:
        def call(*arguments: object) -> object:
            schema = torch._C._get_schema(f"{namespace}::{name}", "")
            results = ["t" if str(result.type) == "Tensor" else "i" for result in schema.returns]
            changed: list[torch.Tensor] = []
            message = [_text(f"{namespace}::{name}"), _text("".join(results))]
            message.append(struct.pack("II", torch.get_num_threads(), len(arguments)))
            for argument, described in zip(arguments, schema.arguments, strict=True):
                changes = described.alias_info is not None and described.alias_info.is_write
                message.append(_argument(argument, str(described.type), changes))
                if changes:
                    changed.extend(argument if isinstance(argument, list) else [argument])  # type: ignore[list-item]
            answer = self._exchange(b"".join(message), len(changed), results)
            match answer.kind:
                case b"p":  # no kernel supports the arguments
                    return getattr(getattr(torch.ops, namespace), f"{name}_in_python")(*arguments)
                case b"e":
                    raise RuntimeError(answer.text)
            for tensor, computed in zip(changed, answer.changed, strict=True):
                tensor.copy_(computed)
            values = answer.results
            return tuple(values) if len(values) > 1 else values[0] if values else None

        return call

    def _exchange(self, message: bytes, num_changed: int, results: Sequence[str]) -> _Answer:
        """Send a call and read the whole answer."""
        if self._is_answering:  # a test ended before it had read its answer
            self._server.kill()
            self._start()
        self._is_answering = True
        assert self._server.stdin is not None
        self._server.stdin.write(message)
        self._server.stdin.flush()
        kind = self._read(1)
        if kind in (b"p", b"e"):
            answer = _Answer(kind, text=self._read_text())
        else:
            tensors = [self._read_tensor() for _ in range(num_changed)]
            values = [self._read_tensor() if result == "t" else self._number("q") for result in results]
            answer = _Answer(kind, changed=tensors, results=values)
        self._is_answering = False
        return answer

    def _read(self, count: int) -> bytes:
        assert self._server.stdout is not None
        found = self._server.stdout.read(count)
        if len(found) < count:
            raise RuntimeError(f"the emulated processor's program ended with {self._server.wait()}")
        return found

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._read(struct.calcsize(form)))[0])

    def _read_text(self) -> str:
        return self._read(self._number("I")).decode()

    def _read_tensor(self) -> torch.Tensor:
        dtype, axes = TYPE_OF_NUMBER[self._number("i")], self._number("I")
        sizes, strides = (struct.unpack(f"{axes}q", self._read(8 * axes)) for _ in range(2))
        data = self._read(self._number("q"))
        if not data:
            return torch.empty(sizes, dtype=dtype)
        return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(dtype).as_strided(sizes, strides)


def _text(text: str) -> bytes:
    return struct.pack("I", len(text.encode())) + text.encode()


def _argument(argument: object, kind: str, changes: bool) -> bytes:
    match kind:
        case "Tensor":
            assert isinstance(argument, torch.Tensor)
            return struct.pack("c?", b"t", changes) + _tensor(argument)
        case "List[Tensor]":
            assert isinstance(argument, list)
            return struct.pack("=c?I", b"l", changes, len(argument)) + b"".join(map(_tensor, argument))
        case "float":
            return struct.pack("=c?d", b"f", changes, argument)
        case _:
            return struct.pack("=c?q", b"i", changes, argument)


def _tensor(tensor: torch.Tensor) -> bytes:
    axes = tensor.dim()
    head = struct.pack(f"=iI{2 * axes}q", TYPES[tensor.dtype], axes, *tensor.shape, *tensor.stride())
    if tensor.numel() == 0:
        return head + struct.pack("q", 0)
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    data = tensor.detach().as_strided((span,), (1,)).view(torch.uint8).numpy().tobytes()
    return head + struct.pack("q", len(data)) + data
