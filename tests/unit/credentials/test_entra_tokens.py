"""Entra ID's tokens, by Microsoft's own library from endpoints on this machine."""

from __future__ import annotations

import time

import pytest

from extproc.config.scalars import SecretRef
from extproc.credentials.entra_tokens import get_entra_token
from extproc.credentials.tokens import TokenUnavailable, get_token
from extproc.providers.token_request import EntraToken
from tests.fakes.entra_tokens import CLIENT, CLIENT_SECRET, SCOPE, TENANT, FakeEntra

REQUEST = EntraToken(scope=f"{SCOPE}/.default")
PRINCIPAL = EntraToken(
    scope=f"{SCOPE}/.default", tenant_id=TENANT, client_id=CLIENT, client_secret=SecretRef(env="PRINCIPAL_SECRET")
)


@pytest.fixture(autouse=True)
def _no_identity_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked here is what a test has put there, and nothing else."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_managed_identity_gives_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's own, found by the usual chain."""
    with FakeEntra() as entra:
        for name, value in entra.environment().items():
            monkeypatch.setenv(name, value)
        token = get_token(REQUEST)
        assert token.secret.reveal() == "entra-1"
        assert 3_000 < token.expires_at - time.time() < 3_700
        assert "entra-1" not in repr(token)


def test_user_assigned_identity_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its client id."""
    with FakeEntra() as entra:
        for name, value in entra.environment().items():
            monkeypatch.setenv(name, value)
        get_entra_token(EntraToken(scope=f"{SCOPE}/.default", client_id=CLIENT))
        assert f"client_id={CLIENT}" in entra.requests[0].query


def test_service_principal_gives_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its secret is read when it is needed, so that an exchanged one is used."""
    with FakeEntra(tls=True) as entra:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", entra.base_url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(entra.ca_file))
        monkeypatch.setenv("PRINCIPAL_SECRET", CLIENT_SECRET)
        assert get_entra_token(PRINCIPAL).secret.reveal() == "entra-1"
        monkeypatch.setenv("PRINCIPAL_SECRET", "exchanged-and-wrong")
        with pytest.raises(TokenUnavailable, match="AADSTS7000215") as caught:
            get_entra_token(PRINCIPAL)
        assert "exchanged-and-wrong" not in str(caught.value)


def test_missing_secret_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its variable."""
    monkeypatch.delenv("PRINCIPAL_SECRET", raising=False)
    with pytest.raises(TokenUnavailable, match="PRINCIPAL_SECRET"):
        get_entra_token(PRINCIPAL)


def test_reason_is_one_line_when_the_host_has_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the operator's log."""
    with FakeEntra() as entra:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{entra.base_url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "wrong")
        with pytest.raises(TokenUnavailable) as caught:
            get_entra_token(REQUEST)
    assert "\n" not in str(caught.value)
    assert str(REQUEST) == "Entra ID's token of the default credential"
