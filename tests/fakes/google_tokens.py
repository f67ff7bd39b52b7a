"""Google's token endpoint, its metadata server and its exchange of workload identities, on 127.0.0.1.

It gives ``ya29.fake-1``, ``ya29.fake-2`` … of ``life`` seconds, and refuses what the real ones refuse: an assertion
that is not signed by the key it gave out, a metadata request without ``Metadata-Flavor: Google``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from google.auth import jwt

from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Reply, json_reply

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_AUDIENCE = "https://oauth2.googleapis.com/token"
_ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"


def make_key() -> tuple[str, str]:
    """A new private key and the certificate's stand-in, its public key, in PEM."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - most tests need no key
    from cryptography.hazmat.primitives.asymmetric import rsa as keys  # noqa: PLC0415 - as above

    key = keys.generate_private_key(public_exponent=65_537, key_size=2_048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


class FakeGoogleTokens(FakeProvider):
    """``life`` (seconds) may be changed while it runs; faults as with every fake provider."""

    def __init__(self, *, life: int = 3_600) -> None:
        super().__init__(name="google-tokens")
        self.life = life
        self.given: list[str] = []
        self._private, self._public = make_key()

    def write_service_account(self, file: Path) -> Path:
        """A service account's key file, whose tokens come from here."""
        info = {
            "type": "service_account",
            "project_id": "fake-project",
            "private_key_id": "key-1",
            "private_key": self._private,
            "client_email": "kortex@fake-project.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{self.base_url}/token",
        }
        file.write_text(json.dumps(info))
        return file

    def write_workload_identity(self, file: Path, subject: Path) -> Path:
        """The configuration of a workload identity, whose subject's token is in a file."""
        info = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k8s",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.base_url}/sts",
            "credential_source": {"file": str(subject)},
        }
        file.write_text(json.dumps(info))
        return file

    def _answer(self, request: Recorded) -> Reply:
        match request.method, request.path:
            case "POST", "/token":
                return self._sign_in(request)
            case "POST", "/sts":
                return self._exchange(request)
            case "GET", path if request.headers.get("metadata-flavor") == "Google":
                return self._describe(path).with_headers(("metadata-flavor", "Google"))
        return json_reply({"error": "not_found"}, status=404)

    def _describe(self, path: str) -> Reply:
        if path == f"{_ACCOUNT}/token":
            return self._token()
        account = {"email": "default@fake-project.iam.gserviceaccount.com", "scopes": [SCOPE], "aliases": []}
        known = {"/": {}, "/computeMetadata/v1/project/project-id": {}, f"{_ACCOUNT}/": account}
        return json_reply(known[path]) if path in known else json_reply({"error": path}, status=404)

    def _exchange(self, request: Recorded) -> Reply:
        form = parse_qs(request.body.decode())
        if form.get("subject_token") != ["subject-of-the-pod"]:
            return _refused("invalid_grant", "the subject token is not known")
        return self._token(issued_token_type="urn:ietf:params:oauth:token-type:access_token")

    def _sign_in(self, request: Recorded) -> Reply:
        form = parse_qs(request.body.decode())
        try:
            claims: Any = jwt.decode(form["assertion"][0], certs=self._public, audience=_AUDIENCE)  # type: ignore[no-untyped-call] # as shipped
        except (KeyError, ValueError):
            return _refused("invalid_grant", "Invalid JWT Signature.")
        if claims["scope"] != SCOPE:
            return _refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return self._token()

    def _token(self, **further: str) -> Reply:
        token = f"ya29.fake-{len(self.given) + 1}"
        self.given.append(token)
        return json_reply({"access_token": token, "expires_in": self.life, "token_type": "Bearer", **further})


def _refused(error: str, description: str) -> Reply:
    return json_reply({"error": error, "error_description": description}, status=400)
