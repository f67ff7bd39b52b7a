"""What a provider is: a name, its settings, where its operations live and how it wants its credential."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from extproc.config.backends import Backend
from extproc.dialects.base import ClientReply, Translator
from extproc.openai.call import Call, Operation

OPENAI_PATHS: Final = {
    Operation.CHAT: "/chat/completions",
    Operation.TEXT_COMPLETION: "/completions",
    Operation.EMBEDDINGS: "/embeddings",
}
_VERSION: Final = re.compile(r"v\d+[a-z0-9]*")


SettingsT = TypeVar("SettingsT", bound=Backend)

Fields = tuple[tuple[str, str], ...]
"""Header names and values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """How a start without a config file finds the provider: variables, and the backend they make.

    ``key`` or ``url`` names the variable whose presence switches it on; ``models`` are the names and globs that are
    its own without a prefix.
    """

    key: str | None = None
    url: str | None = None
    base_url: str | None = None
    """An optional variable that moves a provider which has an address of its own."""
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(Generic[SettingsT]):
    """A provider's record. ``name`` is its key in kortex.yaml and its OpenTelemetry ``gen_ai.provider.name``.

    ``offers`` is what it can be asked, by dialect. ``path`` gives the request path of a call for a model by the
    provider's name for it. ``authorize`` gives the headers that carry the credential, which is None where the backend
    has none. A provider that is part of the gateway sets ``answer``: the reply is made here, no connection is opened.
    """

    name: str
    settings: type[SettingsT]
    offers: Mapping[str, Mapping[Operation, Translator]]
    path: Callable[[SettingsT, Call, str], str]
    authorize: Callable[[SettingsT, str | None], Fields]
    environment: Environment | None = None
    answer: Callable[[Call, str], ClientReply] | None = None
    price_list: str | None = None
    """Its name in the list of prices; None where what it serves has no price of its maker's."""
    models_path: Callable[[SettingsT], str] | None = None
    """The path of its list of models, where that is not beside ``/chat/completions``."""

    def translator(self, operation: Operation) -> Translator | None:
        """The translator of an operation; None when the provider does not have it."""
        for operations in self.offers.values():
            if operation in operations:
                return operations[operation]
        return None


@cache
def versioned_path(base_url: str, prefix: str = "") -> str:
    """The path of a base URL, ending in a version: ``/v1`` is added where the operator left it out.

    ``prefix`` goes before the version where the base URL does not have it yet, such as KServe's ``/openai``.
    """
    path = urlsplit(base_url).path.rstrip("/")
    if _VERSION.fullmatch(path.rpartition("/")[2]):
        return path
    if prefix and not path.endswith(prefix):
        path += prefix
    return f"{path}/v1"


def openai_path(settings: Backend, call: Call, model: str) -> str:  # noqa: ARG001 - the model stands in the body
    """``<base path>/v1/chat/completions`` and its siblings."""
    return versioned_path(settings.url) + OPENAI_PATHS[call.operation]


def bearer(settings: Backend, credential: str | None) -> Fields:  # noqa: ARG001 - the same for every backend
    """``authorization: Bearer …`` (RFC 6750), or nothing for a server without keys."""
    return (("authorization", f"Bearer {credential}"),) if credential else ()
