"""The run's gateway, which is the real one with the real Envoy, and the fake providers behind it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extproc.config.backends import Backend
from extproc.config.gateway import Config
from extproc.providers.registry import PROVIDERS
from extproc.providers.token_request import GoogleToken
from extproc.selftest.asking import Ask
from extproc.selftest.callers import Callers, make_callers
from extproc.selftest.client import Client, Seen
from extproc.selftest.dialect import Spoken, read_dialect
from extproc.selftest.provider import EXCHANGE_PATH, FakeProvider
from extproc.selftest.rewriting import Staging, rewrite
from extproc.selftest.scenario import Scenario, Scenarios
from extproc.selftest.ways import Ways
from extproc.server.supervisor import Setup, StartError, Supervisor

_CREDENTIAL: Final = "credential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What is put on stage: a usable config, as it is written and as it is meant."""

    written: Mapping[str, Any]
    config: Config


class Stage:
    """Open for calls through ``client``. It begins with the limits for streams and without circuit breakers."""

    def __init__(
        self,
        play: Play,
        staging: Staging,
        *,
        supervisor: Supervisor,
        client: Client,
        fakes: Mapping[str, FakeProvider],
        scenarios: Scenarios,
        callers: Callers,
    ) -> None:
        self.play = play
        self.supervisor = supervisor
        self.client = client
        self.fakes = fakes
        self.scenarios = scenarios
        self._staging = staging
        self.callers = callers

    def ways(self) -> Ways:
        """Which calls lead where, as it is configured now."""
        return Ways(self.supervisor.snapshot, self.callers, now=time.time())

    async def call(self, ask: Ask, model: str, scenario: Scenario, *, stream: bool, within: float) -> Seen:
        """Make a call to which the scenario happens. ``within`` are the seconds after which the client gives up."""
        body = ask.body(model, self.scenarios.add(scenario), stream=stream)
        headers = {**ask.headers, **self.callers.headers(ask.caller)}
        return await self.client.call(ask.operation, body, headers=headers, within=within)

    async def configure(self, *, stream: bool, breakers: bool = False) -> None:
        """Reload with the limits for streams or for whole replies. Raises StartError."""
        before = self.supervisor.snapshot.number
        await self.supervisor.reload(_text(self.play, self._staging, stream=stream, breakers=breakers))
        if self.supervisor.snapshot.number == before:
            message = "the self-test's own config was not taken; the log says why"
            raise StartError(message)


@contextlib.asynccontextmanager
async def open_stage(play: Play, setup: Setup) -> AsyncIterator[Stage]:
    """From free ports on loopback, until nothing of it is left. Raises StartError, EnvoyError and ConfigError."""
    secret = f"selftest-{secrets.token_hex(16)}"
    credential = setup.directory / _CREDENTIAL
    _keep(credential, secret)
    scenarios = Scenarios()
    for name in ("NO_PROXY", "no_proxy"):
        # The workers' libraries would take a token's request to a proxy, though it is for this machine.
        os.environ[name] = "127.0.0.1"
    async with contextlib.AsyncExitStack() as stack:
        fakes = {
            name: FakeProvider(name, _spoken(backend.provider), scenarios, secret)
            for name, backend in play.config.backends.items()
            if PROVIDERS[backend.provider].answer is None
        }
        for fake in fakes.values():
            await fake.listen()
            stack.push_async_callback(fake.stop)
        callers = make_callers(play.config)
        staging = Staging(
            keys=callers.entries,
            ports={name: fake.port for name, fake in fakes.items()},
            credential_file=str(credential),
            google_files={
                name: str(_google_file(setup.directory / f"google-{name}.json", credential, fake.port))
                for name, fake in fakes.items()
                if _asks_google(play.config.backends[name])
            },
        )
        supervisor = Supervisor(setup, _text(play, staging, stream=True, breakers=False))
        stack.push_async_callback(supervisor.stop)
        await supervisor.start()
        client = Client(await supervisor.listening(), secret)
        stack.push_async_callback(client.close)
        yield Stage(
            play,
            staging,
            supervisor=supervisor,
            client=client,
            fakes=fakes,
            scenarios=scenarios,
            callers=callers,
        )


def _keep(file: Path, secret: str) -> None:
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")


def _asks_google(backend: Backend) -> bool:
    token = PROVIDERS[backend.provider].token
    return token is not None and isinstance(token(backend), GoogleToken)


def _google_file(file: Path, credential: Path, port: int) -> Path:
    """A workload identity whose token service is the fake: https://google.aip.dev/auth/4117"""
    info = {
        "type": "external_account",
        "audience": "selftest",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"http://127.0.0.1:{port}{EXCHANGE_PATH}",
        "credential_source": {"file": str(credential)},
    }
    _keep(file, json.dumps(info))
    return file


def _spoken(provider: str) -> tuple[Spoken, ...]:
    return tuple(operation for dialect in PROVIDERS[provider].offers for operation in read_dialect(dialect))


def _text(play: Play, staging: Staging, *, stream: bool, breakers: bool) -> bytes:
    """JSON, which is YAML too."""
    return json.dumps(rewrite(play.written, play.config, staging, stream=stream, breakers=breakers)).encode()
