"""Which models a provider's server has, asked of the server itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson

from extproc.openai.call import Call, Operation
from extproc.providers.base import OPENAI_PATHS
from extproc.server.switched_on import Found

_ASK_SECONDS: Final = 2.0
_MOST_NAMES: Final = 200
_LONGEST_NAME: Final = 256
_LARGEST_REPLY: Final = 4 << 20
_WILDCARDS: Final = frozenset("*?[]{}")


def can_list(found: Found) -> bool:
    """Whether there is a server to ask, and chats that its models are for."""
    chat = found.provider.translator(Operation.CHAT, found.settings, "")
    return found.provider.answer is None and chat is not None and found.environment.lists


async def list_models(
    found: Iterable[Found], environment: Mapping[str, str], system_roots: str, notes: list[str]
) -> dict[str, tuple[str, ...]]:
    """The names of each server that answers in time."""
    servers = list(found)
    if not servers:
        return {}
    trust = ssl.create_default_context(cafile=system_roots)
    # What Envoy will not go through, the question must not go through either: no proxies.
    async with httpx.AsyncClient(verify=trust, trust_env=False, timeout=_ASK_SECONDS) as client:
        answers = await asyncio.gather(*(_ask(client, one, environment) for one in servers))
    listed: dict[str, tuple[str, ...]] = {}
    for one, answer in zip(servers, answers, strict=True):
        name = one.provider.name
        if isinstance(answer, str):
            notes.append(f"{name} did not list its models ({answer}): ask for them as {name}/<model>")
        else:
            listed[name] = answer
    return listed


async def _ask(client: httpx.AsyncClient, one: Found, environment: Mapping[str, str]) -> tuple[str, ...] | str:
    """Its models, or why it has none to tell."""
    key = environment.get(one.environment.key, "").strip() if one.environment.key else ""
    headers = dict(one.provider.authorize(one.settings, key or None))
    url = _models_url(one)
    try:
        async with asyncio.timeout(_ASK_SECONDS), client.stream("GET", url, headers=headers) as reply:
            if reply.status_code != httpx.codes.OK:
                return f"status {reply.status_code}"
            return _model_names(await _bounded(reply))
    except TimeoutError:
        return f"no answer within {_ASK_SECONDS:.0f} s"
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        return _kind(error)
    except ValueError:
        return "its answer is no list of models"


async def _bounded(reply: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in reply.aiter_bytes():
        body += piece
        if len(body) > _LARGEST_REPLY:
            message = "too long"
            raise ValueError(message)
    return bytes(body)


def _models_url(one: Found) -> str:
    """https://platform.openai.com/docs/api-reference/models/list, mostly beside the other operations."""
    if one.provider.models_path is not None:
        return urlsplit(one.settings.url)._replace(path=one.provider.models_path(one.settings)).geturl()
    chat = one.provider.path(one.settings, Call(operation=Operation.CHAT, model="", body=b""), "")
    path = chat.removesuffix(OPENAI_PATHS[Operation.CHAT]) + "/models"
    return urlsplit(one.settings.url)._replace(path=path).geturl()


def _model_names(body: bytes) -> tuple[str, ...]:
    """The ids that can be a model's name in a route. Raises ValueError for what is no list of models."""
    match orjson.loads(body):
        case {"data": [*entries]}:
            ids = [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
            return tuple(filter(_is_name, ids))[:_MOST_NAMES]
        case {"data": None}:  # Ollama without a model
            return ()
        case {"models": [*entries]}:  # Google's own list, where every name begins with "models/"
            named = [str(entry.get("name")) for entry in entries if isinstance(entry, dict)]
            return tuple(filter(_is_name, (name.removeprefix("models/") for name in named)))[:_MOST_NAMES]
    message = "no list of models"
    raise ValueError(message)


def _is_name(text: str) -> bool:
    tidy = text == text.strip() and text.isprintable() and 0 < len(text) <= _LONGEST_NAME
    return tidy and _WILDCARDS.isdisjoint(text)


def _kind(error: Exception) -> str:
    """What went wrong, in words that hold no URL and no header."""
    match error:
        case httpx.TimeoutException():
            return f"no answer within {_ASK_SECONDS:.0f} s"
        case httpx.ConnectError():
            return "cannot connect"
        case _:
            return "cannot be asked"
