"""What the project leans on: each dependency has a reason, is used, is declared, and is locked with its hashes."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
SETTINGS: dict[str, Any] = tomllib.loads(PYPROJECT)
RUNTIME = [Requirement(text) for text in SETTINGS["project"]["dependencies"]]
DEVELOPMENT = [Requirement(text) for text in SETTINGS["dependency-groups"]["dev"]]
BUILD = [Requirement(text) for text in SETTINGS["dependency-groups"]["build"]]

# Run by the Makefile, or at work through pytest's and mypy's settings, and so imported by nobody.
TOOLS = {
    "grpcio-tools",
    "import-linter",
    "mypy",
    "pytest-asyncio",
    "pytest-cov",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "types-grpcio",
    "types-jsonschema",
    "types-protobuf",
    "types-pyyaml",
}


def imports(folder: str) -> dict[str, str]:
    """Each top-level package that a module under the folder imports, and one place where it does."""
    return {
        module.partition(".")[0]: f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for module, line in _imports(ast.parse(path.read_text(encoding="utf-8")))
    }


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno


def distributions(folder: str) -> set[str]:
    """The distributions behind what a folder imports."""
    providers = packages_distributions()
    return {canonicalize_name(found) for module in imports(folder) for found in providers.get(module, ())}


def names(requirements: list[Requirement]) -> set[str]:
    """The distributions that the requirements name."""
    return {canonicalize_name(requirement.name) for requirement in requirements}


def locked(file: str) -> dict[str, list[tuple[Requirement, int]]]:
    """By distribution, the pins of a lock file, each with how many hashes it admits."""
    pins: dict[str, list[tuple[Requirement, int]]] = {}
    text = re.sub(r"^ *#.*\n", "", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    for entry in text.replace("\\\n", " ").splitlines():
        pin = Requirement(entry.partition("--hash")[0])
        pins.setdefault(canonicalize_name(pin.name), []).append((pin, entry.count("--hash=sha256:")))
    return pins


def test_every_dependency_has_a_reason() -> None:
    """A line in a list of requirements says why it is there."""
    stated = [*SETTINGS["project"]["dependencies"], *SETTINGS["dependency-groups"]["build"]]
    stated += SETTINGS["dependency-groups"]["dev"]
    assert [text for text in stated if not re.search(rf'"{re.escape(text)}", +# \S', PYPROJECT)] == []


def test_every_runtime_dependency_is_imported() -> None:
    """What the package no longer imports is no longer installed."""
    assert names(RUNTIME) - distributions("extproc") == set()


def test_every_development_dependency_is_used() -> None:
    """A test imports it, or it is a tool."""
    assert names(DEVELOPMENT) - distributions("tests") == TOOLS


@pytest.mark.parametrize("folder", ["extproc", "tests"])
def test_everything_imported_is_declared(folder: str) -> None:
    """Nothing is used that is only there because something else brought it."""
    ours = {"extproc", "tests"}
    providers = packages_distributions()
    declared = names(RUNTIME) | (names(DEVELOPMENT) if folder == "tests" else set())
    undeclared = {
        module: place
        for module, place in imports(folder).items()
        if module not in ours | sys.stdlib_module_names
        and not declared & {canonicalize_name(found) for found in providers.get(module, ())}
    }
    assert undeclared == {}


@pytest.mark.parametrize(
    ("file", "requirements"),
    [
        pytest.param("requirements.lock", RUNTIME + BUILD, id="runtime"),
        pytest.param("requirements-dev.lock", RUNTIME + BUILD + DEVELOPMENT, id="development"),
    ],
)
def test_lock_file_fits_pyproject(file: str, requirements: list[Requirement]) -> None:
    """Every requirement is locked to a version that it admits: run `make lock` after changing one."""
    pins = locked(file)
    for requirement in requirements:
        versions = [pin for pin, _ in pins[canonicalize_name(requirement.name)]]
        assert all(requirement.specifier.contains(str(pin.specifier)[2:]) for pin in versions), requirement


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-dev.lock"])
def test_lock_file_pins_everything(file: str) -> None:
    """Each entry is one exact version with the hashes of its files, and comes from wherever pip is told to look."""
    assert [str(pin) for pins in locked(file).values() for pin, hashes in pins if not hashes] == []
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("-") or "://" in line or " @ " in line] == []


def test_both_lock_files_agree() -> None:
    """An environment made for tests runs what an environment made for running runs."""
    development = {
        str(pin.specifier) + name for name, pins in locked("requirements-dev.lock").items() for pin, _ in pins
    }
    runtime = {str(pin.specifier) + name for name, pins in locked("requirements.lock").items() for pin, _ in pins}
    assert runtime - development == set()
