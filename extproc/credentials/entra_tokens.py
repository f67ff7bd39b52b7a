"""Access tokens of Microsoft Entra ID, by Microsoft's own library: secrets, workload identity, managed identity.

https://learn.microsoft.com/python/api/overview/azure/identity-readme
"""

from __future__ import annotations

import os
from typing import Final

from azure.core.exceptions import AzureError
from azure.identity import ClientSecretCredential, DefaultAzureCredential

from extproc.credentials.secrets import Secret, SecretUnavailable, read_secret
from extproc.credentials.tokens import Token, TokenUnavailable
from extproc.providers.token_request import EntraToken

_LONGEST_REASON: Final = 400


def get_entra_token(request: EntraToken) -> Token:
    """A new token. A secret is read each time, so that it can be exchanged. Raises TokenUnavailable."""
    try:
        with _credential(request) as credential:
            token = credential.get_token(request.scope)
    except SecretUnavailable as error:
        raise TokenUnavailable(str(error)) from None
    except (AzureError, ValueError) as error:
        raise TokenUnavailable(_reason(error)) from None
    return Token(secret=Secret(token.token), expires_at=float(token.expires_on))


def _credential(request: EntraToken) -> ClientSecretCredential | DefaultAzureCredential:
    if request.tenant_id and request.client_id and request.client_secret is not None:
        secret = read_secret(request.client_secret, os.environ)
        # The authority is the operator's word (AZURE_AUTHORITY_HOST), in clouds too that the public one does not know.
        return ClientSecretCredential(
            request.tenant_id, request.client_id, secret.reveal(), disable_instance_discovery=True
        )
    if request.client_id is None:
        return DefaultAzureCredential()
    return DefaultAzureCredential(managed_identity_client_id=request.client_id)


def _reason(error: Exception) -> str:
    """The library's first line: those that follow are of every way that it has tried."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_LONGEST_REASON]
