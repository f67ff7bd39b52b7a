"""Azure OpenAI: OpenAI's format under deployments of the operator's own, with a key or with Entra ID's tokens."""

from extproc.providers.azure.provider import AZURE

__all__ = ["AZURE"]
