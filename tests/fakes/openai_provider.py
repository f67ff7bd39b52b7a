"""A provider that speaks OpenAI's API on 127.0.0.1, records what it receives and fails as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes import checks
from tests.fakes.faults import Fault
from tests.fakes.http_server import HttpServer
from tests.fakes.journal import Journal
from tests.fakes.recorded import Recorded
from tests.fakes.replies import chat, completions, embeddings, models
from tests.fakes.replies.persona import Call, Persona
from tests.fakes.steps import HeaderList, Reply, Sleep, Step
from tests.fakes.wire import render


@dataclass(frozen=True, slots=True)
class Operation:
    """What a POST path asks for: the rules of its body and who answers it."""

    asked: str  # the field that holds what is being answered
    rules: checks.Rules
    answer: Callable[[Call], Reply]


OPERATIONS: Mapping[str, Operation] = {
    "/chat/completions": Operation("messages", checks.CHAT, chat.answer),
    "/completions": Operation("prompt", checks.COMPLETIONS, completions.answer),
    "/embeddings": Operation("input", checks.EMBEDDINGS, embeddings.answer),
}


class FakeProvider:
    """``with FakeProvider(name="a") as fake:`` serves ``fake.url`` until the block ends.

    ``api_key``: the bearer key that requests must have (None: any or none; may be changed while running).
    ``models``: the models that exist (None: any).
    ``served_model``: the model named in replies (None: the one asked for, with a date).
    ``prefix``: what comes before ``/chat/completions``.
    ``latency``: seconds before each reply; may be changed while running.
    ``tls``: speak TLS with a certificate for ``certificate_names``, signed by the authority in ``ca_file``.

    Which fault a request meets: the next one of ``script`` (None: no fault), else what ``decide`` returns for the
    request, else ``always``. All three may be set at any time. ``decide`` runs in the fake's thread.

    What the fake itself could not do (a fault that does not fit, an error in ``decide``) is raised when the block ends,
    or noted on the exception that ends it.
    """

    def __init__(
        self,
        *,
        name: str = "fake",
        api_key: str | None = None,
        models: Iterable[str] | None = None,
        served_model: str | None = None,
        prefix: str = "/v1",
        latency: float = 0.0,
        tls: bool = False,
        certificate_names: Sequence[str] = ("localhost", "127.0.0.1"),
    ) -> None:
        self.name = name
        self.api_key = api_key
        self.latency = latency
        self.always: Fault | None = None
        self.healthy = True
        self.decide: Callable[[Recorded], Fault | None] | None = None
        self._script: deque[Fault | None] = deque()
        self._persona = Persona(
            name=name, models=None if models is None else tuple(sorted(models)), served_model=served_model
        )
        self._prefix = prefix
        self._journal = Journal()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._ca_file: Path | None = None
        context = None
        if tls:
            # Here and not above: most tests need no TLS, and should not wait for the cryptography it takes.
            from tests.fakes.certificates import issue  # noqa: PLC0415

            self._folder = tempfile.TemporaryDirectory(prefix="fake-authority-")
            context, self._ca_file = issue(certificate_names, Path(self._folder.name))
        self._scheme = "https" if tls else "http"
        self._server = HttpServer(name=name, respond=self._respond, journal=self._journal, tls=context)

    def __repr__(self) -> str:
        """Without the key."""
        return f"<FakeProvider {self.name} at {self.url}: {len(self.requests)} requests, {self.active} active>"

    # ---- life

    def start(self) -> Self:
        """Serve; ``with`` does it."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End all connections and the thread; what the fake could not do is raised."""
        self._end()
        if failures := self._journal.failures:
            raise BaseExceptionGroup(f"the fake provider {self.name} failed", failures)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
            return
        self._end()
        for failure in self._journal.failures:
            error.add_note(f"the fake provider {self.name} failed: {failure!r}")

    def _end(self) -> None:
        self._server.stop()
        if self._folder is not None:
            self._folder.cleanup()

    # ---- where it is

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1, the same for its whole life."""
        return self._server.port

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL as an OpenAI client wants it: ``http://127.0.0.1:PORT/v1``."""
        return self.base_url + self._prefix

    @property
    def ca_file(self) -> Path:
        """The PEM file of the authority that signed the certificate."""
        if self._ca_file is None:
            raise RuntimeError(f"the fake provider {self.name} does not speak TLS")
        return self._ca_file

    # ---- what it received

    @property
    def requests(self) -> list[Recorded]:
        """Every request that arrived whole, in order of arrival; health checks are none."""
        return [request for request in self._journal.requests if not _is_health_check(request)]

    @property
    def open_connections(self) -> int:
        """Connections accepted and not yet ended."""
        return self._journal.open_connections

    @property
    def active(self) -> int:
        """Requests in progress."""
        return self._journal.active

    def clear(self) -> None:
        """Forget the requests received so far."""
        self._journal.clear()

    def wait_for(self, predicate: Callable[[FakeProvider], bool], timeout: float = 5.0) -> None:
        """Block until ``predicate(fake)`` is true; it is asked again whenever something happens here.

        Raises TimeoutError, with what the fake has seen, after ``timeout`` seconds.
        """
        if not self._journal.wait_for(lambda: predicate(self), timeout):
            seen = "".join(f"\n  {request!r}" for request in self.requests)
            raise TimeoutError(f"not within {timeout} s at {self!r}, {self.open_connections} connections:{seen}")

    async def wait_for_async(self, predicate: Callable[[FakeProvider], bool], timeout: float = 5.0) -> None:  # noqa: ASYNC109  as wait_for
        """``wait_for`` for coroutines; the predicate runs in another thread."""
        await asyncio.to_thread(self.wait_for, predicate, timeout)

    # ---- how it fails

    @property
    def script(self) -> list[Fault | None]:
        """The faults of the next requests, one each."""
        return list(self._script)

    @script.setter
    def script(self, faults: Iterable[Fault | None]) -> None:
        self._script = deque(faults)

    def clear_faults(self) -> None:
        """Healthy from now on."""
        self.script = []
        self.decide = None
        self.always = None

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Connecting is refused until the block ends; idle connections are closed, requests in progress go on."""
        self._server.refuse()
        try:
            yield
        finally:
            self._server.accept()

    # ---- in the fake's thread

    def _respond(self, request: Recorded) -> tuple[Step, ...]:
        if _is_health_check(request):
            return render(Reply(status=200 if self.healthy else 503, headers=(), body=()), close=request.wants_close)
        fault = self._next_fault(request)
        request.fault = fault
        reply = self._answer(request).with_headers(*self._own_headers(request))
        if self.latency:
            reply = replace(reply, before=(Sleep(self.latency),))
        if fault is not None:
            reply = fault.apply(reply)
        return render(reply, close=request.wants_close)

    def _own_headers(self, request: Recorded) -> HeaderList:
        return (
            ("x-request-id", f"req_{self.name}_{request.number}"),
            ("openai-processing-ms", "12"),
            ("openai-version", "2020-10-01"),
        )

    def _next_fault(self, request: Recorded) -> Fault | None:
        with contextlib.suppress(IndexError):
            return self._script.popleft()
        decided = None if self.decide is None else self.decide(request)
        return self.always if decided is None else decided

    def _answer(self, request: Recorded) -> Reply:
        try:
            checks.check_key(request, self.api_key)
            path = request.path.removeprefix(self._prefix) if request.path.startswith(self._prefix + "/") else ""
            if path == "/models" or path.startswith("/models/"):
                return self._answer_models(request, path.removeprefix("/models").removeprefix("/"))
            operation = OPERATIONS.get(path)
            if operation is None:
                raise checks.unknown_path(request)
            if request.method != "POST":
                raise checks.wrong_method(request, "POST")
            body = checks.check_body(request, operation.rules)
            checks.check_model(body["model"], self._persona.models)
            return operation.answer(Call(persona=self._persona, body=body, asked=body[operation.asked]))
        except checks.Refused as refused:
            return refused.reply

    def _answer_models(self, request: Recorded, model: str) -> Reply:
        if request.method != "GET":
            raise checks.wrong_method(request, "GET")
        if not model:
            return models.answer_list(self._persona)
        checks.check_model(model, self._persona.listed_models)
        return models.answer_one(self._persona, model)


def _is_health_check(request: Recorded) -> bool:
    """By what Envoy calls itself when it asks whether a server is healthy."""
    return request.headers.get("user-agent") == "Envoy/HC"
