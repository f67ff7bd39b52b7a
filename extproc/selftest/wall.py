"""The wall of faults: every route against every fault, at every backend of its plan, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from extproc.selftest.asking import CHAT, EMBEDDINGS, NEEDS, backends_of, body, body_that_needs, example_of
from extproc.selftest.client import Ending, Seen
from extproc.selftest.fault import DOWN, HEALTHY, REFUSED, WALL, Act, Fault, Promise
from extproc.selftest.patience import Patience, patience_of
from extproc.selftest.row import Row
from extproc.selftest.scenario import Scenario
from extproc.selftest.stage import Stage
from extproc.selftest.verdict import Situation, Verdict, judge, judge_need

_AT_ONCE: Final = 16
_EVERYBODY: Final = 1_000
_GRACE_SECONDS: Final = 15.0
_ALL_DOWN: Final = "every backend down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How a route is called: ``plan`` are the backends it walks, those inside the gateway included."""

    route: str
    model: str
    operation: str
    stream: bool
    patience: Patience
    plan: tuple[str, ...] = ()
    askable: int = 0
    """How many of them are reached through the network, and can fail."""


class Wall:
    """One kind of call, streamed or not, on a stage that is configured for it. It fills ``paths`` and ``rows``."""

    def __init__(self, stage: Stage, *, stream: bool) -> None:
        self._stage = stage
        self._stream = stream
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._first: dict[str, list[Path]] = {}
        self.rows: list[Row] = []
        self.paths: dict[str, Path] = {}
        """By route, where such calls are made."""

    async def run(self, routes: tuple[str, ...]) -> None:
        """All routes at once; then those that share a first backend, while that refuses connections."""
        for rows in await asyncio.gather(*(self._route(name) for name in routes)):
            self.rows += rows
        for backend, paths in self._first.items():
            fake = self._stage.fakes[backend]
            fake.refuse()
            try:
                self.rows += await asyncio.gather(*(self._refused(path, backend) for path in paths))
            finally:
                await fake.listen()

    async def _route(self, name: str) -> list[Row]:
        first, *others = map(example_of, self._stage.play.config.routes[name].models)
        path, explored = await self._explore(name, first)
        if not path.plan:
            return explored
        self.paths[name] = path
        calls = [self._healthy(path)]
        for depth in range(path.askable):
            calls += [self._strike(path, fault, depth) for fault in WALL]
        if path.operation == CHAT and not self._stream and len(path.plan) > 1:
            calls += [self._need(path, feature) for feature in NEEDS]
        for model in others:
            other = replace(path, model=model)
            calls += [self._healthy(other), *([self._strike(other, DOWN, 0)] if path.askable else [])]
        return [*explored, *await asyncio.gather(*calls)]

    async def _explore(self, route: str, model: str) -> tuple[Path, list[Row]]:
        """The plan, as far as it is walked when everybody is down; without one where such calls are not made."""
        config = self._stage.play.config
        patience = patience_of(config, config.routes[route], stream=self._stream)
        path = Path(route=route, model=model, operation=CHAT, stream=self._stream, patience=patience)
        path, scenario, seen = await self._probe(path)
        if len(path.plan) < len(backends_of(self._stage.play.written["routes"][route])):
            embedding, its_scenario, its_seen = await self._probe(replace(path, operation=EMBEDDINGS))
            if len(embedding.plan) > len(path.plan):
                if self._stream:
                    return replace(path, plan=()), []
                path, scenario, seen = embedding, its_scenario, its_seen
        verdict = judge(seen, self._situation(path, scenario, Promise.MOVES, victim=None))
        if not path.plan:
            verdict = Verdict(surprise=True, note=f"no backend can be asked at all: {seen.message or seen.ending}")
        return path, [_row(path, _ALL_DOWN, None, scenario, seen, verdict)]

    async def _probe(self, path: Path) -> tuple[Path, Scenario, Seen]:
        """Who is asked when everybody is down; somebody inside the gateway answers all the same."""
        scenario, seen = await self._call(path, Scenario(fault=DOWN, down=_EVERYBODY))
        inside = (seen.backend,) if seen.ending is Ending.ANSWER and seen.backend is not None else ()
        return replace(path, plan=(*scenario.tried, *inside), askable=len(scenario.tried)), scenario, seen

    async def _healthy(self, path: Path) -> Row:
        scenario, seen = await self._call(path, Scenario(fault=HEALTHY))
        if scenario.victim is not None and path.model == example_of(
            self._stage.play.config.routes[path.route].models[0]
        ):
            self._first.setdefault(scenario.victim, []).append(path)
        verdict = judge(seen, self._situation(path, scenario, Promise.ANSWERS, victim=scenario.victim))
        return _row(path, HEALTHY.name, None, scenario, seen, verdict)

    async def _strike(self, path: Path, fault: Fault, depth: int) -> Row:
        scenario, seen = await self._call(path, Scenario(fault=fault, down=depth, late=path.patience.late))
        victim = scenario.victim
        if victim is None:
            note = f"only {', '.join(scenario.tried) or 'nobody'} was asked: there is nobody to have the fault"
            verdict = Verdict(surprise=seen.ending is not Ending.ANSWER, note=note)
        else:
            left = self._left(path, scenario, victim, fault)
            promise = fault.promised(stream=path.stream)
            verdict = judge(seen, self._situation(path, scenario, promise, victim=victim, left=left, fault=fault))
        return _row(path, fault.name, victim, scenario, seen, verdict)

    async def _refused(self, path: Path, backend: str) -> Row:
        scenario, seen = await self._call(path, Scenario(fault=REFUSED))
        left = len(path.plan) > 1
        situation = self._situation(path, scenario, REFUSED.promise, victim=backend, left=left)
        return _row(path, REFUSED.name, backend, scenario, seen, judge(seen, situation))

    async def _need(self, path: Path, feature: str) -> Row:
        """A call that needs a feature, while all are well and while the first who has it is down."""
        calls = []
        for fault in (HEALTHY, DOWN):
            scenario = Scenario(fault=fault)
            asked = body_that_needs(feature, path.model, self._stage.scenarios.add(scenario))
            calls.append(await self._call(path, scenario, asked))
        (_, well), (scenario, seen) = calls
        verdict = judge_need(feature, well, seen, scenario.victim)
        return _row(path, f"down, {feature}", scenario.victim, scenario, seen, verdict)

    async def _call(
        self, path: Path, scenario: Scenario, asked: Mapping[str, Any] | None = None
    ) -> tuple[Scenario, Seen]:
        within = path.patience.run_limit_ms / 1_000 * (len(path.plan) or 10) + _GRACE_SECONDS
        if asked is None:
            prompt = self._stage.scenarios.add(scenario)
            asked = body(path.operation, path.model, prompt, stream=path.stream)
        async with self._slots:
            return scenario, await self._stage.client.call(path.operation, asked, within=within)

    def _left(self, path: Path, scenario: Scenario, victim: str, fault: Fault) -> bool:
        """Whether there is somebody after the victim whom the gateway would ask."""
        before = scenario.tried[: scenario.tried.index(victim) + 1]
        after = [backend for backend in path.plan if backend not in before]
        if fault.error == "context_length":
            after = [backend for backend in after if not self._smaller(backend, victim)]
        return bool(after)

    def _smaller(self, backend: str, than: str) -> bool:
        backends = self._stage.play.config.backends
        window, other = backends[backend].context_window, backends[than].context_window
        return window is not None and other is not None and window < other

    def _situation(
        self,
        path: Path,
        scenario: Scenario,
        promise: Promise,
        *,
        victim: str | None,
        left: bool = False,
        fault: Fault = HEALTHY,
    ) -> Situation:
        silent = {Act.SILENCE, Act.HEADERS_ONLY} if path.stream else {Act.SILENCE, Act.HEADERS_ONLY, Act.STALL}
        return Situation(
            promise=promise,
            victim=victim,
            asked=scenario.tried,
            left=left,
            retries=path.patience.retries,
            total_ms=path.patience.total_ms,
            waited_ms=path.patience.limit_ms if fault.act in silent else None,
        )


def _row(path: Path, fault: str, on: str | None, scenario: Scenario, seen: Seen, verdict: Verdict) -> Row:
    return Row(
        route=path.route,
        model=path.model,
        fault=fault,
        on=on,
        stream=path.stream,
        seen=seen,
        asked=tuple(scenario.asked),
        verdict=verdict,
    )
