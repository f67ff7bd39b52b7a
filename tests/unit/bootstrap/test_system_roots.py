"""Where the public authorities are."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

from extproc.bootstrap import system_roots


def test_operators_own_bundle_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable that every program with OpenSSL reads."""
    bundle = tmp_path / "roots.pem"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert system_roots.find_system_roots() == str(bundle)


def test_bundle_of_the_system_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where an interpreter was built elsewhere and looks in the wrong place."""
    bundle = tmp_path / "ca-certificates.crt"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setattr(system_roots, "_USUAL", (str(tmp_path / "neither.pem"), str(bundle)))
    assert system_roots.find_system_roots() == str(bundle)


def test_bundle_of_certifi_is_found_when_the_system_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container that holds little more than Python."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setattr(system_roots, "_USUAL", ())
    assert system_roots.find_system_roots() == certifi.where()
