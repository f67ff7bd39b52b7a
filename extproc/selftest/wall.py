"""The wall of faults: every route against every fault, at every backend of its plan, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from extproc.selftest.asking import CHAT, COMPLETIONS, EMBEDDINGS, NEEDS, Ask, backends_of, example_of
from extproc.selftest.client import Ending, Seen
from extproc.selftest.fault import DOWN, HEALTHY, REFUSED, WALL, Act, Fault, Promise
from extproc.selftest.matching import NotMade
from extproc.selftest.patience import Patience, patience_of
from extproc.selftest.row import Row
from extproc.selftest.scenario import Scenario
from extproc.selftest.stage import Stage
from extproc.selftest.verdict import Situation, Verdict, judge, judge_need
from extproc.selftest.ways import Way

_AT_ONCE: Final = 16
_EVERYBODY: Final = 1_000
_GRACE_SECONDS: Final = 15.0
_ALL_DOWN: Final = "every backend down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How a route is called: ``plan`` are the backends it walks, those inside the gateway included."""

    route: str
    model: str
    ask: Ask
    rule: str | None
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
        """The plain call of each route, where such calls are made."""
        self.reached: dict[str, set[str]] = {}
        """By route, the backends that any call is for."""
        self.undriven: dict[str, str] = {}
        """By rule, ``routes.NAME.rules[0]``: why no call was made for it."""

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
        path, rows = await self._explore(name, first)
        self.reached[name] = set(path.plan)
        if path.plan:
            self.paths[name] = path
            calls = self._faults(path, WALL)
            if path.ask.operation == CHAT and not self._stream and len(path.plan) > 1:
                calls += [self._need(path, feature) for feature in NEEDS]
            for model in others:
                other = replace(path, model=model)
                calls += [self._healthy(other), *([self._strike(other, DOWN, 0)] if path.askable else [])]
            rows += await asyncio.gather(*calls)
        rows += await self._completions(name, first)
        for place in range(len(self._stage.play.config.routes[name].rules)):
            rows += await self._rule(name, place, driven=path.rule)
        return rows

    def _faults(self, path: Path, faults: Iterable[Fault]) -> list[Coroutine[Any, Any, Row]]:
        """Nobody's, and each of them at every backend of the plan."""
        return [
            self._healthy(path),
            *(self._strike(path, fault, depth) for depth in range(path.askable) for fault in faults),
        ]

    async def _completions(self, route: str, model: str) -> list[Row]:
        """The older kind of call, where any backend takes it."""
        path, scenario, seen = await self._probe(self._plain(route, model, COMPLETIONS))
        if not path.plan:
            return []
        self.reached[route] |= set(path.plan)
        return [
            self._all_down(path, scenario, seen),
            *await asyncio.gather(*self._faults(path, WALL)),
        ]

    async def _rule(self, route: str, place: int, *, driven: str | None) -> list[Row]:
        """Calls that one rule takes: under every fault where it leads to somebody new, else with each one down."""
        where = f"routes.{route}.rules[{place}]"
        try:
            way = self._stage.ways().to(route, self._stage.play.config.routes[route], place, stream=self._stream)
        except NotMade as not_made:
            self.undriven[where] = str(not_made)
            return []
        if way.rule == driven:
            return []
        path, scenario, seen = await self._probe(self._path(route, way))
        new = set(path.plan) - self.reached[route]
        self.reached[route] |= new
        return [
            self._all_down(path, scenario, seen),
            *await asyncio.gather(*self._faults(path, WALL if new else [DOWN])),
        ]

    async def _explore(self, route: str, model: str) -> tuple[Path, list[Row]]:
        """The plan, as far as it is walked when everybody is down; without one where such calls are not made."""
        path, scenario, seen = await self._probe(self._plain(route, model, CHAT))
        if len(path.plan) < len(backends_of(self._stage.play.written["routes"][route])):
            embedding, its_scenario, its_seen = await self._probe(self._plain(route, model, EMBEDDINGS))
            if len(embedding.plan) > len(path.plan):
                if self._stream:
                    return replace(path, plan=()), []
                path, scenario, seen = embedding, its_scenario, its_seen
        return path, [self._all_down(path, scenario, seen)]

    def _plain(self, route: str, model: str, operation: str) -> Path:
        """A call of nobody in particular."""
        ask = Ask(operation=operation, caller=self._stage.callers.name(None))
        try:
            return self._path(route, self._stage.ways().of(ask, model, stream=self._stream))
        except NotMade:
            return self._path(route, Way(ask=ask, model=model))  # the reply to it says why

    def _path(self, route: str, way: Way) -> Path:
        config = self._stage.play.config
        patience = patience_of(config, config.routes[route], stream=self._stream)
        return Path(route=route, model=way.model, ask=way.ask, rule=way.rule, stream=self._stream, patience=patience)

    def _all_down(self, path: Path, scenario: Scenario, seen: Seen) -> Row:
        verdict = judge(seen, self._situation(path, scenario, Promise.MOVES, victim=None))
        if not path.plan:
            verdict = Verdict(surprise=True, note=f"no backend can be asked at all: {seen.message or seen.ending}")
        return _row(path, _ALL_DOWN, None, scenario, seen, verdict)

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
            calls.append(await self._call(replace(path, ask=replace(path.ask, uses=(feature,))), scenario))
        (_, well), (scenario, seen) = calls
        verdict = judge_need(feature, well, seen, scenario.victim)
        return _row(path, f"down, {feature}", scenario.victim, scenario, seen, verdict)

    async def _call(self, path: Path, scenario: Scenario) -> tuple[Scenario, Seen]:
        within = path.patience.run_limit_ms / 1_000 * (len(path.plan) or 10) + _GRACE_SECONDS
        async with self._slots:
            seen = await self._stage.call(path.ask, path.model, scenario, stream=path.stream, within=within)
            return scenario, seen

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
        operation=path.ask.operation,
        rule=path.rule,
        fault=fault,
        on=on,
        stream=path.stream,
        seen=seen,
        asked=tuple(scenario.asked),
        verdict=verdict,
    )
