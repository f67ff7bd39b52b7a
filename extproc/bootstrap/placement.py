"""Where things are in one deployment, as opposed to what the configuration says about all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Paths are those that Envoy sees. An address is ``unix:/path.sock`` or ``host:port``."""

    xds_directory: str
    """Holds ``cds.json`` and ``lds.json``."""
    workers: tuple[str, ...]
    """The ext_proc workers: all of them Unix sockets, or none."""
    admin: str
    """Envoy's own admin interface: a Unix socket, or an IP address and port. It must not be reachable by clients."""
    system_ca: str
    """The PEM bundle of public certificate authorities, for providers that have no ``caFile`` of their own.

    ``extproc.bootstrap.system_roots`` finds it on this machine.
    """
