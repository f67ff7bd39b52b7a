"""Thresholds of budgets, told to whoever wants to know: signed, and repeated until they are taken."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx
import orjson

from extproc.admission.judgement import Passed

_LOG: Final = logging.getLogger(__name__)
_TRIES: Final = 8
_FIRST_WAIT: Final = 0.5
_TIMEOUT: Final = 10.0
_MOST_WAITING: Final = 1_000
SIGNATURE: Final = "x-kortex-signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """``secret`` gives the signing key as it is now; None sends without a signature."""

    url: str
    secret: Callable[[], str | None]


class Webhooks:
    """``receivers`` gives those of this moment, by budget. ``run`` has to run beside it."""

    def __init__(self, receivers: Callable[[], Mapping[str, Receiver]]) -> None:
        self._receivers = receivers
        self._waiting: asyncio.Queue[tuple[Receiver, Passed]] = asyncio.Queue(_MOST_WAITING)

    def passed(self, event: Passed) -> None:
        """See Notifier."""
        receiver = self._receivers().get(event.budget)
        if receiver is None:
            return
        try:
            self._waiting.put_nowait((receiver, event))
        except asyncio.QueueFull:
            _LOG.error("webhook of budget %s is not told of %d %%: too many wait", event.budget, event.percent)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as client, asyncio.TaskGroup() as group:
            while True:
                receiver, event = await self._waiting.get()
                group.create_task(_deliver(client, receiver, event))


async def _deliver(client: httpx.AsyncClient, receiver: Receiver, event: Passed) -> None:
    body = orjson.dumps(
        {
            "event": "budget.threshold",
            "budget": event.budget,
            "percent": event.percent,
            "counter": event.counter,
            "windowEnds": event.ends,
        }
    )
    identity = hashlib.sha256(f"{event.counter}/{event.slot}/{event.percent}".encode()).hexdigest()
    wait = _FIRST_WAIT
    problem = ""
    for _ in range(_TRIES):
        headers = {"content-type": "application/json", "idempotency-key": identity}
        secret = receiver.secret()
        if secret is not None:
            headers[SIGNATURE] = sign(secret, body, at=int(time.time()))
        try:
            reply = await client.post(receiver.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            problem = type(error).__name__
        else:
            if reply.is_success:
                return
            problem = f"status {reply.status_code}"
        await asyncio.sleep(wait)
        wait *= 2
    _LOG.error("webhook of budget %s could not be told of %d %%: %s", event.budget, event.percent, problem)


def sign(secret: str, body: bytes, *, at: int) -> str:
    """``t=SECONDS,v1=HEX``: the time is signed too, so that an old message cannot be sent again as new."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
