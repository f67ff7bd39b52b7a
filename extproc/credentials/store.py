"""The tokens of one process: asked for before anybody needs them, renewed before they end, shared by every config."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from extproc.credentials.tokens import Token, TokenUnavailable, get_token
from extproc.errors import CredentialUnavailable
from extproc.providers.token_request import TokenRequest
from extproc.routing.target import Credential

_LOG: Final = logging.getLogger(__name__)
_AHEAD_SECONDS: Final = 225.0
"""Google's metadata server gives a new token from four minutes before the old one's end, and no sooner."""
_SHORTEST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0

Get = Callable[[TokenRequest], Token]


class TokenStore:
    """Keeps a task for each token that is wanted. To be used from one event loop; ``get`` runs in threads."""

    def __init__(self, get: Get = get_token, *, now: Callable[[], float] = time.time) -> None:
        self._get = get
        self._now = now
        self._kept: dict[TokenRequest, _Kept] = {}

    def credential(self, request: TokenRequest) -> Credential:
        """Gives the token as it is now. Raises CredentialUnavailable while there is none that is still good."""
        return self._find(request).read

    async def take_up(self, requests: Collection[TokenRequest], *, within: float) -> None:
        """Begin to keep these, and wait for the first token of each: ``within`` seconds, then it goes on without."""
        kept = [self._find(request) for request in requests]
        for one in kept:
            one.begin()
        waiting = [asyncio.ensure_future(one.settled.wait()) for one in kept]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=within)
            for task in late:
                task.cancel()
        for one in kept:
            if not one.settled.is_set():
                _LOG.warning("%s has not come in %.0f s; its backends fail over until it does", one.request, within)

    def keep_only(self, requests: Collection[TokenRequest]) -> None:
        """End the tasks of all others."""
        for request in self._kept.keys() - set(requests):
            self._kept.pop(request).end()

    def close(self) -> None:
        """End every task."""
        self.keep_only(())

    def _find(self, request: TokenRequest) -> _Kept:
        if request not in self._kept:
            self._kept[request] = _Kept(request, self._get, self._now)
        return self._kept[request]


class _Kept:
    """One token and the task that renews it. The last one stays until it ends, whatever becomes of the task."""

    def __init__(self, request: TokenRequest, get: Get, now: Callable[[], float]) -> None:
        self.request = request
        self.settled = asyncio.Event()
        """Set once the first answer is there, be it a token or a refusal."""
        self._get = get
        self._now = now
        self._token: Token | None = None
        self._task: asyncio.Task[None] | None = None

    def read(self) -> str:
        token = self._token
        if token is None or token.expires_at <= self._now():
            raise CredentialUnavailable("The gateway has no valid token for this backend at the moment.")
        return token.secret.reveal()

    def begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._renew())

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _renew(self) -> None:
        failures = 0
        while True:
            token = await self._ask()
            self.settled.set()
            if token is not None:
                self._token, failures = token, 0
                await asyncio.sleep(seconds_to_renewal(token, self._now()))
            else:
                wait = min(_SHORTEST_WAIT * 2**failures, _LONGEST_WAIT)
                failures = min(failures + 1, 10)
                await asyncio.sleep(wait)

    async def _ask(self) -> Token | None:
        try:
            token = await _in_a_thread(lambda: self._get(self.request))
        except TokenUnavailable as error:
            _LOG.error("%s cannot be had: %s", self.request, error)
            return None
        except Exception:
            _LOG.exception("%s cannot be had", self.request)
            return None
        if token.expires_at <= self._now():
            _LOG.error("%s had ended when it came; is this machine's clock right?", self.request)
            return None
        return token


def seconds_to_renewal(token: Token, now: float) -> float:
    """From ``now``, Unix seconds: well before the token's end, and within a fifth of a life that is short."""
    left = token.expires_at - now
    return max(left - min(_AHEAD_SECONDS, left / 5), _SHORTEST_WAIT)


async def _in_a_thread(get: Callable[[], Token]) -> Token:
    """In a thread that keeps no process from ending, as those of an executor do while a server does not answer."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Token] = loop.create_future()

    def settle(token: Token | None, error: BaseException | None) -> None:
        if answer.done():  # given up
            return
        if token is not None:
            answer.set_result(token)
        else:
            answer.set_exception(error or TokenUnavailable("there is no answer"))

    def ask() -> None:
        token, error = None, None
        try:
            token = get()
        except Exception as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, token, error)

    threading.Thread(target=ask, name="kortex-token", daemon=True).start()
    return await answer
