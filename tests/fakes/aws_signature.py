"""Signature Version 4 checked by botocore, which signs the same request again and compares."""

from __future__ import annotations

import hashlib
import hmac
import re

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.recorded import Recorded

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def signature_problem(request: Recorded, credentials: Credentials, *, region: str, service: str) -> str | None:
    """What is wrong with the request's signature; None when AWS would accept it, but for the clock."""
    found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        return "Missing Authentication Token"
    if (found["key"], found["region"], found["service"]) != (credentials.access_key, region, service):
        return "Credential should be scoped to a valid region and service."
    signed = {name: request.headers.get(name, "") for name in found["headers"].split(";")}
    if not {"host", "x-amz-date"} <= signed.keys():
        return "'host' and 'x-amz-date' must be signed."
    token = request.headers.get("x-amz-security-token")
    digest = request.headers.get("x-amz-content-sha256")
    if token != credentials.token or digest not in {None, hashlib.sha256(request.body).hexdigest()}:
        return "The security token, or the hash of the payload, is invalid."
    if not hmac.compare_digest(
        _signature(request, signed, SigV4Auth(credentials, service, region)), found["signature"]
    ):
        return "The request signature we calculated does not match the signature you provided."
    return None


def _signature(request: Recorded, signed: dict[str, str], signer: SigV4Auth) -> str:
    """The one that the request should have."""
    query = f"?{request.query}" if request.query else ""
    again = AWSRequest(
        method=request.method,
        url=f"http://{request.headers['host']}{request.path}{query}",
        headers=signed,
        data=request.body,
    )
    again.context["timestamp"] = request.headers["x-amz-date"]
    return str(signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again))
