"""``kortex explain``: where a request would go and why, without calling anybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extproc.cli.config_file import VARIABLE

if TYPE_CHECKING:
    from extproc.exchange.explanation import Explanation

_OPERATIONS = {
    "chat": "/v1/chat/completions",
    "text_completion": "/v1/completions",
    "embeddings": "/v1/embeddings",
}


def explain(  # noqa: PLR0913 - the command's options
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="The client's JSON body; - is standard input.")],
    *,
    config: Annotated[Path, typer.Option(metavar="FILE", envvar=VARIABLE, help="kortex.yaml")],
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME:VALUE", help="A header of the client's; may be repeated.")
    ] = None,
    path: Annotated[str | None, typer.Option(help="The request's path. Default: that of a chat.")] = None,
    operation: Annotated[str | None, typer.Option(help=f"In place of a path: {', '.join(_OPERATIONS)}.")] = None,
    key: Annotated[str | None, typer.Option(metavar="NAME", help="Whose request it is: a key of the config.")] = None,
    decision: Annotated[
        str | None, typer.Option(metavar="ID", help="Draw as this decision did: x-kortex-decision, or the access log.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say which rule matches, which backends are asked in which order, and what each would be sent."""
    import orjson
    from rich.console import Console

    from extproc.cli.console import failures_told
    from extproc.cli.explanation_text import print_explanation

    with failures_told(str(config)):
        found = _explain(request, config, header or [], _path(path, operation), decision, key)
        if json:
            typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        else:
            print_explanation(Console(soft_wrap=True), found)
    if found.error is not None:
        raise typer.Exit(1)


def _path(path: str | None, operation: str | None) -> str:
    if operation is None:
        return path or _OPERATIONS["chat"]
    if operation not in _OPERATIONS or path is not None:
        raise typer.BadParameter(f"give a path, or one of {', '.join(_OPERATIONS)}", param_hint="--operation")
    return _OPERATIONS[operation]


def _explain(
    request: Path, config: Path, header: list[str], path: str, decision: str | None, key: str | None
) -> Explanation:
    """Raises ConfigError, ConfigUnreadable, OSError and Failed."""
    import secrets
    import sys
    import time

    from extproc.admission.keyring import ANYONE
    from extproc.cli.console import Failed
    from extproc.cli.named_key import find_key
    from extproc.cli.without_secrets import compile_without_secrets
    from extproc.config.load import load
    from extproc.errors import ClientError
    from extproc.exchange.explanation import explain, request_headers
    from extproc.providers.registry import SETTINGS
    from extproc.routing.health import NOTHING_SEEN
    from extproc.server.watch import read_config

    settings = load(read_config(config), SETTINGS).config
    snapshot = compile_without_secrets(settings)
    pairs = [line.partition(":") for line in header]
    if not all(separator and name.strip() for name, separator, _ in pairs):
        raise typer.BadParameter("a header is written name: value", param_hint="--header")
    body = sys.stdin.buffer.read() if str(request) == "-" else request.read_bytes()
    try:
        return explain(
            request_headers(path, {name.strip(): value.strip() for name, _, value in pairs}),
            body,
            snapshot=snapshot,
            now=time.time(),
            decision_id=decision or secrets.token_hex(8),
            key=ANYONE if key is None else find_key(settings, key),
            states=NOTHING_SEEN,
        )
    except KeyError:
        raise Failed(f"{path} is no path of the API: there are {', '.join(_OPERATIONS.values())}") from None
    except ClientError as error:
        raise Failed(f"the request is refused with {error.status}: {error.message}") from error
