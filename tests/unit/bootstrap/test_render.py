"""The files as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from extproc.bootstrap.render import (
    Placement,
    render_bootstrap,
    render_clusters,
    render_listeners,
    render_static,
)
from extproc.exchange.snapshot import Snapshot

PLACEMENT = Placement(
    xds_directory="/run/kortex",
    workers=("unix:/run/kortex/worker-0.sock",),
    admin="unix:/run/kortex/admin.sock",
    system_ca="/roots.pem",
)
BEFORE = """
backends: {a: {provider: custom, url: "http://a.example.com"}}
routes: {r: {models: [m], defaultBackend: {name: a}}}
"""
AFTER = """
backends: {a: {provider: custom, url: "http://moved.example.com"}, d: {provider: demo}}
routes: {r: {models: [m], defaultBackend: {name: a}, fallback: {backends: [d]}}}
"""


def names(resources: dict[str, Any]) -> list[str]:
    """Of the resources, in their order."""
    return [resource["name"] for resource in resources["resources"]]


def test_bootstrap_names_the_files_that_envoy_follows(compiled: Callable[[str], Snapshot]) -> None:
    """And the bundle of authorities, which is the machine's and not a backend's."""
    bootstrap = render_bootstrap(compiled("").config, PLACEMENT)
    assert bootstrap["dynamic_resources"] == {
        "cds_config": {"path_config_source": {"path": "/run/kortex/cds.json"}},
        "lds_config": {"path_config_source": {"path": "/run/kortex/lds.json"}},
    }
    [secret] = bootstrap["static_resources"]["secrets"]
    assert secret["validation_context"] == {"trusted_ca": {"filename": "/roots.pem"}}


def test_targets_of_earlier_snapshots_keep_their_resources(compiled: Callable[[str], Snapshot]) -> None:
    """A request under way walks the plan that it began with."""
    before, after = compiled(BEFORE), compiled(AFTER)
    [old] = before.targets.values()
    targets = [old, *after.targets.values()]
    listeners = names(render_listeners(after, targets, version="2"))
    assert listeners == ["edge", *(target.name for target in targets)]
    clusters = names(render_clusters(targets, version="2"))
    assert len(clusters) == len(set(clusters)) == 5


def test_targets_resources_stay_when_others_change(compiled: Callable[[str], Snapshot]) -> None:
    """Envoy leaves alone what is the same, and with it the connections that it holds."""
    before, after = compiled(BEFORE), compiled(AFTER)
    [old] = before.targets.values()
    alone, among = (render_listeners(snapshot, [old], version="1")["resources"][1] for snapshot in (before, after))
    assert alone == among


@pytest.mark.parametrize("config", [pytest.param("", id="nothing"), pytest.param(AFTER, id="targets")])
def test_same_input_gives_the_same_bytes(compiled: Callable[[str], Snapshot], config: str) -> None:
    """Values that JSON can carry, in an order that does not depend on chance."""
    first, second = (render_static(compiled(config), PLACEMENT) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_version_is_the_callers(compiled: Callable[[str], Snapshot]) -> None:
    """Envoy reports it once it serves the resources."""
    snapshot = compiled("")
    assert render_clusters((), version="7") == {"version_info": "7"}
    assert render_listeners(snapshot, (), version="7")["version_info"] == "7"


def test_everything_is_in_one_file_when_it_is_to_be_validated(compiled: Callable[[str], Snapshot]) -> None:
    """Files that Envoy would only follow later are none of its validation."""
    snapshot = compiled(AFTER)
    static = render_static(snapshot, PLACEMENT)
    assert "dynamic_resources" not in static
    followed = render_clusters(snapshot.targets.values(), version="1")["resources"]
    followed += render_listeners(snapshot, snapshot.targets.values(), version="1")["resources"]
    held = [*static["static_resources"]["clusters"], *static["static_resources"]["listeners"]]
    assert [{key: value for key, value in resource.items() if key != "@type"} for resource in followed] == [
        resource for resource in held if resource["name"] not in {"extproc", "kortex.none"}
    ]
