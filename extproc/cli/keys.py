"""``kortex keys``: makes, lists, replaces and ends the keys that clients call with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The keys that clients call with.", no_args_is_help=True)

_FILE = typer.Option(
    envvar="KORTEX_KEYS_FILE",
    metavar="PATH",
    help="The file that kortex.yaml names as keysFile.",
)
File = Annotated[Path, _FILE]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called in limits, records and metrics.")]


@app.callback()
def keys() -> None:
    """The keys that clients call with."""


@app.command("create")
def create(  # noqa: PLR0913 - each is an option of the command line
    name: Name,
    *,
    file: Annotated[Path | None, _FILE] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose calls these are.")] = None,
    user: Annotated[str | None, typer.Option(help="A person or program among them.")] = None,
    tier: Annotated[str | None, typer.Option(help="What they pay for.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Any other word. May be given repeatedly.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Name or glob that it may ask for. Repeatedly.")] = None,
    route: Annotated[list[str] | None, typer.Option(help="Route that it may use. Repeatedly.")] = None,
    expires: Annotated[str | None, typer.Option(help="A date, or a date and time, from which it is refused.")] = None,
) -> None:
    """Make a key and print it, once: only its hash is kept. Without a file, print the entry for kortex.yaml, too."""
    from datetime import UTC, datetime

    from extproc.cli.console import failures_told
    from extproc.config.keys import ClientKey
    from extproc.config.validation import validate
    from extproc.credentials.key_store import add_key, hash_of, new_secret

    secret = new_secret()
    written = {
        "name": name,
        "hash": hash_of(secret),
        "tenant": tenant,
        "user": user,
        "tier": tier,
        "tags": tag,
        "models": model,
        "routes": route,
        "expires": expires,
    }
    entry = {key: value for key, value in written.items() if value}
    key, problems = validate(ClientKey, entry, ())
    if key is None:
        raise typer.BadParameter("; ".join(f"{'.'.join(map(str, found.path))} {found.message}" for found in problems))
    with failures_told(str(file)):
        if file is not None:
            add_key(file, key, now=datetime.now(UTC))
    typer.echo(secret)
    if file is None:
        import orjson

        typer.echo(f"for kortex.yaml, under keys:\n  - {orjson.dumps(entry).decode()}", err=True)


@app.command("list")
def list_(*, file: File) -> None:
    """What keys there are, and until when. Secrets are not kept, so that there is none to show."""
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table

    from extproc.cli.console import failures_told, print_table
    from extproc.config.keys import parse_moment
    from extproc.credentials.key_store import list_keys

    now = datetime.now(UTC)
    table = Table("name", "tenant", "user", "tier", "tags", "models", "routes", "expires", box=None, pad_edge=False)
    with failures_told(str(file)):
        for key in list_keys(file):
            over = key.expires is not None and parse_moment(key.expires) <= now
            former = [old.expires for old in key.previous if parse_moment(old.expires) > now]
            until = f"{key.expires or 'never'}{' (over)' if over else ''}"
            until += f", a secret before until {max(former, key=parse_moment)}" if former else ""
            lists = [" ".join(words or ()) for words in (key.tags, key.models or ("*",), key.routes or ("*",))]
            table.add_row(key.name, key.tenant, key.user, key.tier, *lists, until)
    print_table(Console(), table)


@app.command("revoke")
def revoke(name: Name, *, file: File) -> None:
    """End a key now. Its line stays, with the date, so that records that name it can still be read."""
    from datetime import UTC, datetime

    from extproc.cli.console import failures_told
    from extproc.credentials.key_store import end_key

    with failures_told(str(file)):
        end_key(file, name, now=datetime.now(UTC))


@app.command("rotate")
def rotate(
    name: Name,
    *,
    file: File,
    grace: Annotated[
        str, typer.Option(help="How long the secret before is still taken, such as 30m or 24h; 0s: not.")
    ] = ("24h"),
) -> None:
    """Print another secret for a key. Its name, and so its limits and budgets, stay as they are."""
    from datetime import UTC, datetime, timedelta

    from extproc.cli.console import failures_told
    from extproc.config.scalars import parse_duration
    from extproc.credentials.key_store import new_secret, rotate_key, spell_moment

    secret, now = new_secret(), datetime.now(UTC)
    try:
        overlap = timedelta(milliseconds=int(str(parse_duration(grace))))
        until = spell_moment(now + overlap)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(str(error), param_hint="--grace") from None
    with failures_told(str(file)):
        rotate_key(file, name, secret, grace=overlap, now=now)
    typer.echo(secret)
    if overlap:
        typer.echo(f"the secret before is taken until {until}", err=True)
