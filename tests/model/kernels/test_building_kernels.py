"""The C++ kernels come with the installation or are built once, and a machine with neither does without them."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.execution.compilation import cache_folder
from engine.execution.kernels import load_cpu_kernels
from model.kernels.build import SOURCES, KernelsUnavailable, Toolchain, build_library
from model.kernels.library import built_library as library_for
from model.kernels.library import load_kernels, prebuilt_name
from model.kernels.tiers import Processor, choose_tier
from testing.processes.forked_workers import run_with_pytorch

LOAD = """
import sys
from pathlib import Path
from engine.execution.kernels import load_cpu_kernels
print(load_cpu_kernels(lambda line: print(line, file=sys.stderr)))
"""
LOAD_PREBUILT = """
import sys
from pathlib import Path
from model.kernels.build import KernelsUnavailable
from model.kernels.library import kernels_loaded, load_kernels
try:
    load_kernels(Path(sys.argv[2]), prebuilt=Path(sys.argv[1]))
except KernelsUnavailable as error:
    print(error)
print(kernels_loaded())
"""

# The last words of a compilation are a unit, `-o` and an object. All else on which the object depends is in the key.
QUICK_COMPILER = """#!/bin/bash
set -e
words=("${{@/-O3/-O0}}")
if [[ " $* " != *" -c "* ]]; then exec "{compiler}" "${{words[@]}}"; fi
unit="${{@: -3:1}}" object="${{@: -1}}"
key=$( ("{compiler}" --version; echo "${{words[@]:0:$#-3}}"; cat "$unit" "{sources}"/*/*) | sha256sum | cut -c 1-32)
mkdir -p "{kept}"
if [[ ! -e "{kept}/$key.o" ]]; then
    "{compiler}" "${{words[@]}}"
    find "{kept}" -name "*.o" -mtime +7 -delete
    cp "$object" "{kept}/$key.$$" && mv "{kept}/$key.$$" "{kept}/$key.o"
fi
cp "{kept}/$key.o" "$object"
"""


def load_in_a_new_process(**environment: str) -> subprocess.CompletedProcess[str]:
    return run_in_a_new_process(LOAD, **environment)


def run_in_a_new_process(script: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = run_with_pytorch(script, *arguments, environment=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def quick_compiler(built_kernels: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The C++ compiler without optimisation, which keeps what it compiles. The same sources are compiled once."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or "c++"
    script = tmp_path_factory.mktemp("compiler") / "quick-compiler"
    script.write_text(QUICK_COMPILER.format(compiler=compiler, kept=cache_folder() / "test-objects", sources=SOURCES))
    script.chmod(0o755)
    return str(script)


@pytest.fixture(scope="module")
def first_start(
    quick_compiler: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of caches after a process built the kernels in it, and that process."""
    folder = tmp_path_factory.mktemp("caches")
    return folder, load_in_a_new_process(XDG_CACHE_HOME=str(folder), CXX=quick_compiler)


@pytest.fixture
def nothing_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as if it had no kernels, with an empty folder of caches."""
    monkeypatch.setattr("model.kernels.library.kernels_loaded", lambda: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def built_library(folder: Path) -> Path:
    (library,) = (folder / "qwen-batch" / "kernels").iterdir()
    return library


def test_a_library_that_was_built_before_is_loaded_as_it_is(
    quick_compiler: str, first_start: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    folder, first = first_start
    library = built_library(folder)
    built_at = library.stat().st_mtime_ns
    second = load_in_a_new_process(XDG_CACHE_HOME=str(folder), CXX=quick_compiler)
    assert (first.stdout, second.stdout) == ("True\n", "True\n")
    assert [(path, path.stat().st_mtime_ns) for path in library.parent.iterdir()] == [(library, built_at)]


def test_a_prebuilt_library_needs_no_compiler_and_nothing_is_built(
    first_start: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    prebuilt = tmp_path / "prebuilt"
    prebuilt.mkdir()
    shutil.copy(built_library(first_start[0]), prebuilt / prebuilt_name(choose_tier(Processor.inspect())))
    done = run_in_a_new_process(LOAD_PREBUILT, prebuilt, tmp_path / "caches", PATH="", CXX="")
    assert done.stdout == "True\n"
    assert not (tmp_path / "caches").exists()


def test_a_prebuilt_library_of_other_sources_or_another_tier_is_not_loaded(
    first_start: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    tier = choose_tier(Processor.inspect())
    for name in (f"qwen_batch_cpu-{tier.name}-0123456789abcdef.so", prebuilt_name(tier).replace(tier.name, "other")):
        shutil.copy(built_library(first_start[0]), tmp_path / name)
    done = run_in_a_new_process(LOAD_PREBUILT, tmp_path, tmp_path / "caches", PATH="", CXX="")
    assert done.stdout == "there is no C++ compiler (g++ or clang++) on the PATH\nFalse\n"


def test_a_prebuilt_library_that_does_not_load_is_built_here(
    quick_compiler: str, first_start: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    damaged = tmp_path / prebuilt_name(choose_tier(Processor.inspect()))
    damaged.write_text("This is no library.")
    caches = first_start[0] / "qwen-batch" / "kernels"
    assert run_in_a_new_process(LOAD_PREBUILT, tmp_path, caches, CXX=quick_compiler).stdout == "True\n"
    without = run_in_a_new_process(LOAD_PREBUILT, tmp_path, caches, PATH="", CXX="").stdout
    assert without.startswith(f"the library {damaged} does not load: ")
    assert without.endswith(", and there is no C++ compiler (g++ or clang++) on the PATH\nFalse\n")


def test_processes_that_start_together_build_one_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, calls = tmp_path / "compiler", tmp_path / "calls"
    compiler.write_text(f'#!/bin/sh\necho call >>"{calls}"\nfor word; do output=$word; done\n: >"$output"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    processor, together = Processor.inspect(), threading.Barrier(4)

    def library(_: int) -> Path:
        together.wait(60)
        return library_for(choose_tier(processor), processor, tmp_path / "kernels")

    with ThreadPoolExecutor(4) as threads:  # a thread waits for the lock as a process does
        (found,) = set(threads.map(library, range(4)))
    assert list((tmp_path / "kernels").iterdir()) == [found]
    assert calls.read_text().splitlines() == ["call"] * 3  # two units and the library


def test_a_build_that_fails_fails_for_all_who_wait_for_it_and_the_next_start_builds_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler, calls, folder = tmp_path / "compiler", tmp_path / "calls", tmp_path / "kernels"
    compiler.write_text(f'#!/bin/sh\necho call >>"{calls}"\necho "error: no room" >&2\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    processor, all_wait = Processor.inspect(), threading.Barrier(4)
    tier = choose_tier(processor)

    def wait_for_all() -> None:
        all_wait.wait(60)

    def refusal(_: int) -> str:
        with pytest.raises(KernelsUnavailable) as error:
            library_for(tier, processor, folder, wait_for_all)
        return str(error.value)

    for times in (1, 2):
        with ThreadPoolExecutor(4) as threads:  # a thread waits for the lock as a process does
            assert set(threads.map(refusal, range(4))) == {f"the C++ compiler {compiler} failed: error: no room"}
        assert times <= len(calls.read_text().splitlines()) <= 2 * times  # two units, of which one may end the other
    compiler.write_text('#!/bin/sh\nfor word; do output=$word; done\n: >"$output"\n')
    library = library_for(tier, processor, folder)
    assert list(folder.iterdir()) == [library]


@pytest.mark.parametrize("ending", ["exit 1", "exec tail -f /dev/null"], ids=["another one fails", "time-out"])
def test_what_a_compiler_has_started_ends_with_the_build(tmp_path: Path, ending: str) -> None:
    compiler, alive, begun = tmp_path / "compiler", tmp_path / "alive", tmp_path / "begun"
    for fifo in (alive, begun):
        os.mkfifo(fifo)
    endless = f'exec 3>"{alive}"; tail -f /dev/null & echo >"{begun}"; wait'
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *attention.cpp*) {endless};; *) read line <"{begun}"; {ending};; esac\n'
    )
    compiler.chmod(0o755)
    with os.fdopen(os.open(alive, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        seconds = 3 if "tail" in ending else 250
        with pytest.raises(KernelsUnavailable):
            build_library(Toolchain(str(compiler)), choose_tier(Processor.inspect()), tmp_path / "a.so", seconds)
        assert select.select([reader], [], [], 60)[0]  # its end: nobody has the pipe open any more
        assert reader.read() in (b"", None)


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [("false", "the C++ compiler false failed"), ("no-such-compiler", "the C++ compiler no-such-compiler did not run")],
)
@pytest.mark.usefixtures("nothing_loaded")
def test_a_compiler_that_fails_is_one_line_and_no_library(
    compiler: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler)
    said: list[str] = []
    steps: list[str] = []
    assert not load_cpu_kernels(said.append, steps.append)
    assert steps == ["building the C++ kernels, once"]
    (line,) = said
    assert line.startswith("Running without the C++ kernels, much slower: ")
    assert reason in line
    assert list((tmp_path / "qwen-batch" / "kernels").glob("*.so")) == []


def test_a_compiler_that_takes_too_long_is_one_line_with_what_to_do_and_the_next_build_begins_anew(
    tmp_path: Path,
) -> None:
    endless, quick, library = tmp_path / "endless", tmp_path / "quick", tmp_path / "kernels" / "library.so"
    endless.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    quick.write_text('#!/bin/sh\nfor word; do output=$word; done\n: >"$output"\n')
    tier = choose_tier(Processor.inspect())
    for compiler in (endless, quick):
        compiler.chmod(0o755)
    with pytest.raises(KernelsUnavailable, match=r"had not finished after 0\.5 s\. The next start builds") as refusal:
        build_library(Toolchain(str(endless)), tier, library, timeout_seconds=0.5)
    assert "start again when this machine is less busy" in str(refusal.value)
    assert list(library.parent.iterdir()) == []
    build_library(Toolchain(str(quick)), tier, library)
    assert list(library.parent.iterdir()) == [library]


def test_a_new_library_takes_the_place_of_the_old_file_and_is_never_written_into_it(tmp_path: Path) -> None:
    compiler, library = tmp_path / "compiler", tmp_path / "library.so"
    compiler.write_text('#!/bin/sh\nfor word; do output=$word; done\necho new >"$output"\n')
    compiler.chmod(0o755)
    library.write_text("old\n")
    with library.open() as open_elsewhere:  # a worker may be loading the file
        build_library(Toolchain(str(compiler)), choose_tier(Processor.inspect()), library)
        assert (open_elsewhere.read(), library.read_text()) == ("old\n", "new\n")


def test_loading_twice_in_one_process_is_loading_once(built_kernels: None, tmp_path: Path) -> None:
    load_kernels(tmp_path / "never made")
    assert not (tmp_path / "never made").exists()


@pytest.mark.usefixtures("nothing_loaded")
def test_no_compiler_at_all_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "")
    said: list[str] = []
    assert not load_cpu_kernels(said.append)
    assert "there is no C++ compiler (g++ or clang++) on the PATH" in said[0]
    assert issubclass(KernelsUnavailable, RuntimeError)
