"""The Dockerfile against the project. A test has no engine to build it: every word is held to what it speaks of."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer

import extproc
from extproc.cli.main import app
from tests.deploy import dockerfile

ROOT = dockerfile.ROOT
STAGES = dockerfile.read()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IMAGES = pytest.mark.parametrize("stage", [STAGES["processor"], STAGES["gateway"]], ids=lambda stage: stage.name)


def copied_from_the_project() -> list[str]:
    """What COPY takes out of the build context."""
    texts = [text for stage in STAGES.values() for text in stage.all("COPY") if not text.startswith("--from=")]
    return sorted({source for text in texts for source in text.split()[:-1]})


def ignored(path: Path) -> bool:
    """Whether .dockerignore keeps a file out of the build context: the last line that matches decides."""
    lines = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in {"", "#"}
    ]
    relative = path.relative_to(ROOT)
    places = [relative, *relative.parents][:-1]
    verdict = False
    for line in lines:
        anywhere, pattern = line.startswith("**/"), line.removeprefix("!").removeprefix("**/")
        if any(fnmatch.fnmatch(place.name if anywhere else place.as_posix(), pattern) for place in places):
            verdict = not line.startswith("!")
    return verdict


def context() -> list[Path]:
    """Every file that the build is given."""
    named = [path for source in copied_from_the_project() for path in (ROOT / source, *(ROOT / source).rglob("*"))]
    return [path for path in named if path.is_file() and not ignored(path)]


def test_every_base_is_one_pinned_python() -> None:
    """A virtual environment moves between stages only where the interpreter is the same."""
    bases = {stage.base for stage in STAGES.values()}
    assert len(bases) == 1
    found = re.fullmatch(r"python:(\d+\.\d+)(\.\d+)?-slim-[a-z]+", bases.pop())
    assert found is not None
    assert any(classifier.endswith(f":: {found[1]}") for classifier in PROJECT["classifiers"])


def test_the_default_image_is_the_whole_gateway() -> None:
    """`docker build .` makes the last stage."""
    assert list(STAGES)[-1] == "gateway"


def test_everything_copied_is_there_and_reaches_the_build() -> None:
    """A source that .dockerignore keeps out would fail the build."""
    assert {source for source in copied_from_the_project() if not (ROOT / source).exists()} == set()
    reached = {path.relative_to(ROOT).parts[0] for path in context()}
    assert reached == {source.split("/")[0] for source in copied_from_the_project()}


def test_no_secret_reaches_the_build() -> None:
    """What an operator keeps beside the project stays out of every image."""
    assert all(ignored(ROOT / name) for name in (".env", "kortex.yaml", ".git/config", "extproc/__pycache__/x.pyc"))


def test_dependencies_are_installed_as_make_does() -> None:
    """From the lock file with its hashes; the project without fetching anything else."""
    runs = " && ".join(STAGES["build"].all("RUN"))
    installs = [line.split() for line in re.findall(r"pip .*?\binstall (.*?)(?= &&|$)", runs)]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = [line.split() for line in re.findall(r"\$\(PIP\) install (.*)", makefile)]
    locked = next(words for words in made if "requirements.lock" in words)
    project = next(words for words in made if "--editable" in words)
    assert len(installs) == 2
    assert set(locked) <= set(installs[0])
    assert set(project) - {"--editable"} <= set(installs[1])


@IMAGES
def test_image_runs_as_nobody_in_particular(stage: dockerfile.Stage) -> None:
    """By number, because Kubernetes cannot tell who a name is."""
    user, _, group = stage.last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


@IMAGES
def test_image_runs_a_command_that_exists(stage: dockerfile.Stage) -> None:
    """The entry point is the project's, and the words after it are parsed by the command itself."""
    (command,) = stage.command("ENTRYPOINT")
    assert PROJECT["scripts"][command] == "extproc.cli.main:app"
    verb, *arguments = stage.command("CMD")
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    parsed = group.commands[verb].make_context(verb, arguments).params
    assert parsed["config"] is None or parsed["config"].is_absolute()


@IMAGES
def test_image_says_how_it_is_and_how_it_ends(stage: dockerfile.Stage) -> None:
    """Without curl, which the image does not have; SIGTERM is what drains."""
    assert stage.last("STOPSIGNAL") == "SIGTERM"
    program, flags, text = stage.command("HEALTHCHECK")
    assert (program, flags) == ("python", "-ISc")
    assert "'/readyz'" in text
    compile(text, "HEALTHCHECK", "exec")


@IMAGES
def test_labels_say_what_the_project_says(stage: dockerfile.Stage) -> None:
    """Those of https://github.com/opencontainers/image-spec/blob/main/annotations.md"""
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix): value for name, value in stage.pairs("LABEL").items()}
    assert labels == {
        "title": "Kortex",
        "description": PROJECT["description"],
        "version": extproc.__version__,
        "licenses": PROJECT["license"],
        "base.name": f"docker.io/library/{stage.base}",
    }


def test_the_project_can_be_built_from_what_the_build_is_given(tmp_path: Path) -> None:
    """Nothing that the build backend reads is missing, and every module arrives in the wheel."""
    for path in context():
        target = tmp_path / "context" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    build = [sys.executable, "-m", "flit_core.wheel", "context", "--outdir", "wheels"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("extproc/")}
    assert packed == {
        path.relative_to(ROOT).as_posix() for path in context() if "extproc" in path.relative_to(ROOT).parts
    }
