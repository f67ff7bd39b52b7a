"""Our JSON of Envoy's messages against the one that comes with them."""

from __future__ import annotations

from datetime import timedelta

import betterproto2
import pytest
from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType
from envoy_data_plane.envoy.config.core.v3 import SubstitutionFormatString
from envoy_data_plane.envoy.config.route.v3 import RetryPolicy, RetryPolicyRetryBackOff
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.google.protobuf import Any, Struct

from extproc.bootstrap.typed_config import foreign_extension, packed, to_json


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Cluster(), id="nothing"),
        pytest.param(Cluster(name="c", type=ClusterDiscoveryType.STRICT_DNS), id="text-and-enum"),
        pytest.param(Cluster(type=ClusterDiscoveryType.STATIC), id="first-of-an-enum-in-a-oneof"),
        pytest.param(Cluster(connect_timeout=timedelta(milliseconds=1500)), id="duration"),
        pytest.param(Cluster(connect_timeout=timedelta(microseconds=1)), id="shortest-duration"),
        pytest.param(Cluster(connect_timeout=timedelta(days=400)), id="long-duration"),
        pytest.param(Cluster(connect_timeout=timedelta(0)), id="no-duration-is-one"),
        pytest.param(RetryPolicy(num_retries=0, retriable_status_codes=[429, 500]), id="wrapped-zero-and-list"),
        pytest.param(
            RetryPolicy(retry_back_off=RetryPolicyRetryBackOff(base_interval=timedelta(seconds=1))), id="nested"
        ),
        pytest.param(
            SubstitutionFormatString(json_format=Struct.from_dict({"a": {"b": None, "c": [1, "x"]}})), id="free-json"
        ),
    ],
)
def test_json_says_what_the_message_says(message: betterproto2.Message) -> None:
    """Read back by the library, it is the same message, and it has no key more than the library's own JSON."""
    written = to_json(message)
    assert type(message).from_dict(written) == message
    assert written.keys() == message.to_dict(casing=betterproto2.Casing.SNAKE).keys()


def test_packed_message_is_what_the_library_packs() -> None:
    """The name of the type is among the fields."""
    router = Router(suppress_envoy_headers=True)
    ours = to_json(HttpFilter(name="r", typed_config=packed(router)))
    assert ours == HttpFilter(name="r", typed_config=Any.pack(router)).to_dict(casing=betterproto2.Casing.SNAKE)


def test_message_is_written_as_json_when_nobody_knows_its_type() -> None:
    """Envoy knows it, by its name."""
    written = to_json(foreign_extension("plugin", "envoy.new.v3.Plugin", {"order": ["a", "b"]}))
    content = {"@type": "type.googleapis.com/envoy.new.v3.Plugin", "order": ["a", "b"]}
    assert written == {"name": "plugin", "typed_config": content}
