"""A private certificate authority for a fake that speaks TLS."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import trustme


def issue(names: Sequence[str], folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for ``names`` (host names and addresses), and the file of the authority behind it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    authority.issue_cert(*names).configure_cert(context)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return context, ca_file
