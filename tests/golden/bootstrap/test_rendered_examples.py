"""The examples in envoy/: exactly what the renderer makes of the kortex.yaml beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from extproc.bootstrap.render import Placement, render_bootstrap, render_clusters, render_listeners
from extproc.bootstrap.xds_files import write_json
from extproc.config.load import load
from extproc.exchange.snapshot import Snapshot, compile_snapshot
from extproc.providers.registry import PROVIDERS, SETTINGS

ENVOY: Final = Path(__file__).resolve().parents[3] / "envoy"
PLACEMENT: Final = Placement(
    xds_directory="/var/lib/kortex/xds",
    workers=("unix:/run/kortex/worker-0.sock", "unix:/run/kortex/worker-1.sock"),
    admin="unix:/run/kortex/envoy-admin.sock",
    system_ca="/etc/ssl/certs/ca-certificates.crt",
)
RENDERED: Final[dict[str, Callable[[Snapshot], dict[str, Any]]]] = {
    "bootstrap.json": lambda snapshot: render_bootstrap(snapshot.config, PLACEMENT),
    "cds.json": lambda snapshot: render_clusters(snapshot.targets.values(), version="1"),
    "lds.json": lambda snapshot: render_listeners(snapshot, snapshot.targets.values(), version="1"),
}


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """Of envoy/kortex.yaml."""
    config = load((ENVOY / "kortex.yaml").read_bytes(), SETTINGS).config
    credentials = dict.fromkeys(config.backends, lambda: None)
    return compile_snapshot(config, number=1, loaded_at=0.0, providers=PROVIDERS, credentials=credentials)


@pytest.mark.parametrize("name", RENDERED)
def test_example_is_what_is_rendered(snapshot: Snapshot, name: str, tmp_path: Path, *, update_golden: bool) -> None:
    """To the byte; `make golden` rewrites the examples."""
    target = ENVOY if update_golden else tmp_path
    write_json(target / name, RENDERED[name](snapshot))
    assert (target / name).read_text("utf-8") == (ENVOY / name).read_text("utf-8")


def test_every_file_of_the_example_is_explained() -> None:
    """In the README beside them."""
    explained = (ENVOY / "README.md").read_text("utf-8")
    files = {path.name for path in ENVOY.iterdir()} - {"README.md"}
    assert files == {"kortex.yaml", *RENDERED}
    assert [name for name in files if f"`{name}`" not in explained] == []
