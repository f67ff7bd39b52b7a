"""Entra ID on 127.0.0.1: the endpoint of a host's managed identity, and with TLS a tenant's token endpoint.

It gives ``entra-1``, ``entra-2`` … and refuses what the real ones refuse: an identity asked without the host's secret,
a service principal with a wrong one.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qs

from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Reply, json_reply

SCOPE = "https://cognitiveservices.azure.com"
HOST_SECRET = "host-secret"
TENANT = "6d5b1f6c-0000-4000-8000-000000000001"
CLIENT = "6d5b1f6c-0000-4000-8000-000000000002"
CLIENT_SECRET = "of-the-principal"


class FakeEntra(FakeProvider):
    """``given`` are the tokens so far. Faults as with every fake provider."""

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__(name="entra", tls=tls)
        self.given: list[str] = []

    def environment(self) -> dict[str, str]:
        """What App Service tells its programs: https://learn.microsoft.com/azure/app-service/overview-managed-identity."""
        return {"IDENTITY_ENDPOINT": f"{self.base_url}/msi/token", "IDENTITY_HEADER": HOST_SECRET}

    def _answer(self, request: Recorded) -> Reply:
        match request.method, request.path:
            case "GET", "/msi/token":
                return self._managed(request)
            case "GET", path if path.endswith("/.well-known/openid-configuration"):
                return json_reply(self._described())
            case "POST", path if path == f"/{TENANT}/oauth2/v2.0/token":
                return self._principal(request)
        return json_reply({"error": "not_found", "error_description": request.path}, status=404)

    def _managed(self, request: Recorded) -> Reply:
        query = parse_qs(request.query)
        if request.headers.get("x-identity-header") != HOST_SECRET or query.get("resource") != [SCOPE]:
            return json_reply({"statusCode": 400, "message": "No managed identity found."}, status=400)
        expires = str(int(time.time()) + 3_600)
        return json_reply(
            {"access_token": self._next(), "expires_on": expires, "resource": SCOPE, "token_type": "Bearer"}
        )

    def _principal(self, request: Recorded) -> Reply:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        wanted = {"client_id": CLIENT, "client_secret": CLIENT_SECRET, "grant_type": "client_credentials"}
        if {name: form.get(name) for name in wanted} != wanted or form.get("scope") != f"{SCOPE}/.default":
            message = "AADSTS7000215: Invalid client secret provided."
            return json_reply({"error": "invalid_client", "error_description": message}, status=401)
        return json_reply({"token_type": "Bearer", "expires_in": 3_600, "access_token": self._next()})

    def _described(self) -> dict[str, str]:
        own = f"{self.base_url}/{TENANT}"
        return {
            "token_endpoint": f"{own}/oauth2/v2.0/token",
            "authorization_endpoint": f"{own}/oauth2/v2.0/authorize",
            "issuer": f"{own}/v2.0",
        }

    def _next(self) -> str:
        self.given.append(f"entra-{len(self.given) + 1}")
        return self.given[-1]
