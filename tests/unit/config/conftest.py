"""Providers that exist for these tests only: what a provider's own settings may add to a backend's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import pytest
from pydantic import Field

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import Model, SecretRef


class Plain(Backend):
    """A server of one's own; speaks ``/v1``."""

    provider: Literal["plain"]


class Hosted(Backend):
    """A service with one address."""

    provider: Literal["hosted"]
    url: BaseUrl = "https://api.hosted.example/v1"
    api_key: SecretRef


class KeyLogin(Model):
    """By a key."""

    kind: Literal["key"]
    key: SecretRef


class RoleLogin(Model):
    """By a role."""

    kind: Literal["role"]
    role: str


class Tuned(Backend):
    """A service with switches."""

    provider: Literal["tuned"]
    verbose: bool = False
    """Whether it talks | much."""
    patience: float | None = Field(default=None, gt=0)
    """In tries."""
    labels: dict[str, str] = Field(default={})
    login: Annotated[KeyLogin | RoleLogin, Field(discriminator="kind")] | None = None


@pytest.fixture(scope="session")
def settings() -> Mapping[str, type[Backend]]:
    """Settings by provider name, as the registry gives them."""
    return {"plain": Plain, "hosted": Hosted, "tuned": Tuned}
