"""Mistral: OpenAI's format, read strictly: fields, keys, ids and the order of turns must be as it knows them."""

from extproc.providers.mistral.provider import MISTRAL

__all__ = ["MISTRAL"]
