"""Google's tokens by Google's own library, from servers on loopback that check what the real ones check."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.credentials.google_tokens import get_google_token
from extproc.credentials.tokens import TokenUnavailable
from extproc.providers.token_request import GoogleToken
from tests.fakes.google_tokens import FakeGoogleTokens

ASK = """
from extproc.credentials.tokens import get_token
from extproc.providers.token_request import GoogleToken
print(get_token(GoogleToken()).secret.reveal())
"""


@pytest.fixture
def google() -> Iterator[FakeGoogleTokens]:
    """The servers."""
    with FakeGoogleTokens(life=3_000) as fake:
        yield fake


def test_service_account_signs_for_a_token(google: FakeGoogleTokens, tmp_path: Path) -> None:
    """With the scope of the platform, for as long as the server says."""
    file = google.write_service_account(tmp_path / "key.json")
    token = get_google_token(GoogleToken(credentials_file=str(file)))
    assert token.secret.reveal() == "ya29.fake-1"
    assert 2_900 < token.expires_at - time.time() <= 3_000
    assert get_google_token(GoogleToken(credentials_file=str(file))).secret.reveal() == "ya29.fake-2"


def test_workload_identity_exchanges_the_pods_token(google: FakeGoogleTokens, tmp_path: Path) -> None:
    """As on Kubernetes outside of Google Cloud."""
    subject = tmp_path / "subject"
    subject.write_text("subject-of-the-pod")
    file = google.write_workload_identity(tmp_path / "identity.json", subject)
    assert get_google_token(GoogleToken(credentials_file=str(file))).secret.reveal() == "ya29.fake-1"
    subject.write_text("another")
    with pytest.raises(TokenUnavailable, match="invalid_grant"):
        get_google_token(GoogleToken(credentials_file=str(file)))


@pytest.mark.parametrize("source", ["metadata server", "key file"])
def test_host_is_asked_when_nothing_is_configured(google: FakeGoogleTokens, tmp_path: Path, source: str) -> None:
    """The library reads its environment when it is imported, so in a process of its own."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GCE_METADATA_HOST": google.base_url[7:]}
    environment["GCE_METADATA_IP"] = environment["GCE_METADATA_HOST"]
    if source == "key file":
        environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(google.write_service_account(tmp_path / "key.json"))
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "ya29.fake-1", done.stderr
    paths = {request.path for request in google.requests}
    assert ("/token" in paths) == (source == "key file")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(None, "cannot be read: No such file", id="missing"),
        pytest.param("{", "not JSON", id="no-json"),
        pytest.param("[]", "not a JSON object", id="no-object"),
        pytest.param('{"type": "magic"}', "'type' is none of service_account", id="type"),
        pytest.param('{"type": "service_account"}', "not in the expected format", id="incomplete"),
        pytest.param(
            json.dumps(
                {
                    "type": "service_account",
                    "client_email": "a@b",
                    "token_uri": "http://127.0.0.1:9/token",
                    "private_key": "-----BEGIN PRIVATE KEY-----\nsecret-of-the-key\n-----END PRIVATE KEY-----",
                }
            ),
            "no usable credentials|expected format|key",
            id="broken-key",
        ),
    ],
)
def test_file_that_is_of_no_use_is_told_of_without_its_content(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    """Where the operator looks."""
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(TokenUnavailable, match=complaint) as caught:
        get_google_token(GoogleToken(credentials_file=str(file)))
    assert "secret-of-the-key" not in str(caught.value)
    assert str(caught.value)


def test_refusal_of_the_server_is_told(google: FakeGoogleTokens, tmp_path: Path) -> None:
    """Its error code, so that a revoked key is recognised."""
    file = google.write_service_account(tmp_path / "key.json")
    with FakeGoogleTokens() as other:
        info = json.loads(file.read_text())
        file.write_text(json.dumps({**info, "token_uri": f"{other.base_url}/token"}))
        with pytest.raises(TokenUnavailable, match="invalid_grant"):
            get_google_token(GoogleToken(credentials_file=str(file)))
    assert google.requests == []
