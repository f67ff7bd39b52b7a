"""A short-lived token, and who gets which kind of it."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.credentials.secrets import Secret
from extproc.providers.token_request import TokenRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """``expires_at`` is Unix seconds."""

    secret: Secret
    expires_at: float


class TokenUnavailable(Exception):
    """A token cannot be had now. The message is for the operator's log and holds no secret."""


def get_token(request: TokenRequest) -> Token:
    """Ask for a token, in the calling thread, which may take seconds. Raises TokenUnavailable."""
    # The vendors' libraries take long to import, and most gateways need none of them.
    from extproc.credentials.google_tokens import get_google_token  # noqa: PLC0415 - as above

    return get_google_token(request)
