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
from extproc.providers.signing import Signing
from extproc.providers.token_request import TokenRequest

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

    ``key`` or ``url`` names the variable whose presence switches it on, or else those of ``together`` do, all of them;
    ``models`` are the names and globs that are its own without a prefix.
    """

    key: str | None = None
    other_key: str | None = None
    """Another name of the key's variable, for where the first is not set."""
    url: str | None = None
    base_url: str | None = None
    """An optional variable that moves a provider which has an address of its own."""
    models: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    """Further keys of the backend's entry, and the variables they are taken from."""
    lists: bool = True
    """Whether it can be asked for the names of its models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(Generic[SettingsT]):
    """A provider's record. ``name`` is its key in kortex.yaml and its OpenTelemetry ``gen_ai.provider.name``.

    ``offers`` is what it can be asked, by dialect; where a model speaks one of several, ``dialect`` tells which, by the
    settings and the provider's name for the model. ``path`` gives the request path of a call for a model by the
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
    dialect: Callable[[SettingsT, str], str] | None = None
    signing: Callable[[SettingsT], Signing | None] | None = None
    """How Envoy signs the requests, where the credential is no header."""
    token: Callable[[SettingsT], TokenRequest | None] | None = None
    """The token that is the backend's credential, where that is not its ``apiKey``."""

    def translator(self, operation: Operation, settings: SettingsT, model: str) -> Translator | None:
        """The translator of an operation for a model; None when that cannot be had there."""
        if self.dialect is not None:
            return self.offers[self.dialect(settings, model)].get(operation)
        for operations in self.offers.values():
            if operation in operations:
                return operations[operation]
        return None


@cache
def versioned_path(base_url: str, prefix: str = "", version: str = "v1") -> str:
    """The path of a base URL, ending in a version: ``version`` is added where the operator left it out.

    ``prefix`` goes before the version where the base URL does not have it yet, such as KServe's ``/openai``.
    """
    path = urlsplit(base_url).path.rstrip("/")
    if _VERSION.fullmatch(path.rpartition("/")[2]):
        return path
    if prefix and not path.endswith(prefix):
        path += prefix
    return f"{path}/{version}"


def openai_path(settings: Backend, call: Call, model: str) -> str:  # noqa: ARG001 - the model stands in the body
    """``<base path>/v1/chat/completions`` and its siblings."""
    return versioned_path(settings.url) + OPENAI_PATHS[call.operation]


def bearer(settings: Backend, credential: str | None) -> Fields:  # noqa: ARG001 - the same for every backend
    """``authorization: Bearer …`` (RFC 6750), or nothing for a server without keys."""
    return (("authorization", f"Bearer {credential}"),) if credential else ()
