"""``entra:`` whose tokens a backend is asked with: https://learn.microsoft.com/azure/ai-foundry/openai/how-to/managed-identity"""

from __future__ import annotations

from pydantic import Field, model_validator

from extproc.config.scalars import Model, SecretRef


class EntraId(Model):
    """An identity of Entra ID: a service principal with its secret, or a managed identity by its client id."""

    tenant_id: str | None = Field(default=None, min_length=1)
    """The service principal's tenant."""
    client_id: str | None = Field(default=None, min_length=1)
    """The service principal's, or that of a managed identity which the user has assigned to this host."""
    client_secret: SecretRef | None = None
    """The service principal's."""
    scope: str = "https://cognitiveservices.azure.com/.default"
    """What the token is for; other clouds have another one."""

    @model_validator(mode="after")
    def _whole(self) -> EntraId:
        if (self.tenant_id is None) != (self.client_secret is None):
            msg = "a service principal has tenantId, clientId and clientSecret"
            raise ValueError(msg)
        if self.client_secret is not None and self.client_id is None:
            msg = "a service principal has a clientId too"
            raise ValueError(msg)
        return self
