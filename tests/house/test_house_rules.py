"""Rules of the house that a reader should be able to rely on."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from jobs.settings import PREFIX, Settings

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("cli", "engine", "jobs", "model", "qwen_batch", "server", "worker")
ALL_CODE = (*PACKAGES, "benchmarks", "testing", "tests", "tools")
# worker.app is Celery's entry point: importing it reads the environment and makes the application.
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (REPOSITORY / package).rglob("*.py")
)
TORCH_FREE = [
    n for n in MODULES if n.split(".")[0] in {"cli", "jobs", "qwen_batch", "server"} and not n.startswith("cli.offline")
]


def test_every_environment_name_in_the_compose_file_is_a_setting() -> None:
    names = set(re.findall(rf"\b{PREFIX}[A-Z_]+", (REPOSITORY / "docker-compose.yml").read_text()))
    assert names
    assert names <= set(Settings.env_names())


def test_every_environment_name_in_the_documentation_is_a_setting() -> None:
    for page in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        names = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", page.read_text()))
        assert names <= set(Settings.env_names()), page


def test_every_test_named_on_the_page_on_security_exists() -> None:
    named = set(re.findall(r"`([a-z_/]+/test_\w+\.py)`", (REPOSITORY / "docs" / "security.md").read_text()))
    assert named
    assert {name for name in named if not (REPOSITORY / "tests" / name).exists()} == set()


def test_only_settings_reads_our_environment_names() -> None:
    readers = [
        path.relative_to(REPOSITORY)
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
        if re.search(r"(getenv|environ(\.get)?)\W+[\"']QWEN_BATCH_", path.read_text())
    ]
    assert readers == []


def test_private_operators_of_pytorch_are_called_in_one_module() -> None:
    callers = [
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
        if re.search(r"torch\.ops\.(?!qwen_batch)\w+\._\w+", path.read_text())
    ]
    assert callers == ["model/ops/onednn.py"]


def imports_when_loaded(module: str) -> set[str]:
    """Our modules that a module imports while it loads: not those of functions, nor those for types alone."""
    stem = REPOSITORY / module.replace(".", "/")
    path = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return (names & set(MODULES)) - {module}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """So each module can be the first that is imported: none of those that it needs waits for it."""
    order = TopologicalSorter({module: imports_when_loaded(module) for module in MODULES})
    assert set(order.static_order()) == set(MODULES)


def test_every_module_can_be_imported() -> None:
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    has_triton = importlib.util.find_spec("triton") is not None  # for Linux alone
    names = [n for n in MODULES if n != "worker.app" and (has_triton or not n.startswith("model.kernels.triton."))]
    done = subprocess.run(
        [sys.executable, "-c", script, *names], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_client_half_imports_no_torch() -> None:
    script = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    script += "\nassert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", script, *TORCH_FREE], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "qwen_batch"])  # the module of users
def test_package_markers_are_empty(package: str) -> None:
    assert [str(p) for p in (REPOSITORY / package).rglob("__init__.py") if p.read_text().strip()] == []


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for folder in ALL_CODE
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in {".py", ".cpp", ".h", ".lua"} and (lines := len(path.read_text().splitlines())) > 300
    }
    assert long == {}


def test_benchmarks_and_shared_doubles_import_nothing_from_the_tests() -> None:
    importers = [
        str(path.relative_to(REPOSITORY))
        for folder in ("benchmarks", "testing", "tools")
        for path in (REPOSITORY / folder).rglob("*.py")
        if re.search(r"^\s*(from|import) tests\b", path.read_text(), re.MULTILINE)
    ]
    assert importers == []


def test_no_room_holds_more_than_a_dozen_modules() -> None:
    sizes = Counter(
        str(path.parent.relative_to(REPOSITORY))
        for folder in ALL_CODE
        for path in (REPOSITORY / folder).rglob("*.py")
        if path.name != "__init__.py"
    )
    assert {room: size for room, size in sizes.items() if size > 12} == {}


def test_no_pickle_and_no_evaluation_of_text_as_code() -> None:
    banned = {"pickle", "marshal", "shelve", "cloudpickle", "dill"}
    for package in PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    assert not banned & {alias.name.split(".")[0] for alias in node.names}, path
                elif isinstance(node, ast.ImportFrom):
                    assert (node.module or "").split(".")[0] not in banned, path
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in {"eval", "exec"}, path


def test_every_folder_with_a_module_is_listed_for_installation_and_no_other() -> None:
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}
    assert sorted(listed) == sorted(".".join(folder.relative_to(REPOSITORY).parts) for folder in folders)
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
