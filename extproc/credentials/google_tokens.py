"""Access tokens for Google Cloud, by Google's own library: key files, workload identity, the metadata server.

https://googleapis.dev/python/google-auth/latest/user-guide.html
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import google.auth
import google.auth.aws
import google.auth.credentials
import google.auth.exceptions
import google.auth.identity_pool
import google.auth.transport.requests
import google.oauth2.credentials
import google.oauth2.service_account

from extproc.credentials.secrets import Secret
from extproc.credentials.tokens import Token, TokenUnavailable
from extproc.providers.token_request import GoogleToken

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_TIMEOUT_SECONDS: Final = 10.0
_LARGEST_FILE: Final = 64 << 10
_LONGEST_REASON: Final = 200
_UNTOLD_LIFETIME: Final = 3_600.0

Credentials = google.auth.credentials.Credentials
Load = Callable[[Mapping[str, Any]], Credentials]


def _service_account(info: Mapping[str, Any]) -> Credentials:
    made: Credentials = google.oauth2.service_account.Credentials.from_service_account_info(info, scopes=_SCOPES)  # type: ignore[no-untyped-call] # as shipped
    return made


def _authorized_user(info: Mapping[str, Any]) -> Credentials:
    made: Credentials = google.oauth2.credentials.Credentials.from_authorized_user_info(info, scopes=_SCOPES)  # type: ignore[no-untyped-call] # as shipped
    return made


def _external_account(info: Mapping[str, Any]) -> Credentials:
    aws = str(info.get("subject_token_type")) == "urn:ietf:params:aws:token-type:aws4_request"
    kind: Any = google.auth.aws.Credentials if aws else google.auth.identity_pool.Credentials
    made: Credentials = kind.from_info(info, scopes=_SCOPES)
    return made


# https://cloud.google.com/docs/authentication/application-default-credentials#personal
_KINDS: Final[Mapping[str, Load]] = {
    "service_account": _service_account,
    "authorized_user": _authorized_user,
    "external_account": _external_account,
}


def get_google_token(request: GoogleToken) -> Token:
    """A new token. The file is read each time, so that a key can be exchanged. Raises TokenUnavailable."""
    transport = functools.partial(google.auth.transport.requests.Request(), timeout=_TIMEOUT_SECONDS)
    try:
        credentials = _credentials(request.credentials_file, transport)
        credentials.refresh(transport)  # type: ignore[no-untyped-call] # as shipped
    except (google.auth.exceptions.GoogleAuthError, ValueError, TypeError) as error:
        raise TokenUnavailable(_reason(error)) from None
    if not isinstance(credentials.token, str) or not credentials.token.isprintable():
        raise TokenUnavailable("the answer has no token")
    expiry = credentials.expiry
    return Token(
        secret=Secret(credentials.token),
        expires_at=time.time() + _UNTOLD_LIFETIME if expiry is None else expiry.replace(tzinfo=UTC).timestamp(),
    )


def _credentials(file: str | None, transport: Callable[..., object]) -> Credentials:
    if file is None:
        credentials, _ = google.auth.default(scopes=_SCOPES, request=transport)  # type: ignore[arg-type] # any callable does
        return credentials
    info = _read(Path(file))
    load = _KINDS.get(str(info.get("type")))
    if load is None:
        raise TokenUnavailable(f"its 'type' is none of {', '.join(_KINDS)}")
    return load(info)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as stream:
            info = json.loads(stream.read(_LARGEST_FILE))
    except OSError as error:
        raise TokenUnavailable(f"the file cannot be read: {error.strerror}") from None
    except ValueError:
        raise TokenUnavailable("the file is not JSON") from None
    if not isinstance(info, dict):
        raise TokenUnavailable("the file is not a JSON object")
    return info


def _reason(error: Exception) -> str:
    """Google's words where it has some; a broken key is not repeated."""
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return str(error.args[0] if error.args else type(error).__name__)[:_LONGEST_REASON]
    return "the file holds no usable credentials"
