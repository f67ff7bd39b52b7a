"""Where this machine keeps the certificates of public authorities, as one PEM file that Envoy can read."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import certifi

# Debian, Alpine and the official Envoy image; Fedora and RHEL; older RHEL; openSUSE; macOS and the BSDs.
_USUAL: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def find_system_roots() -> str:
    """The bundle that OpenSSL is set to use (SSL_CERT_FILE), else the system's, else the one that certifi ships."""
    configured = ssl.get_default_verify_paths().cafile
    return next((path for path in (configured, *_USUAL) if path and Path(path).is_file()), certifi.where())
