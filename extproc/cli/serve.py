"""``kortex serve``: the processor alone, for a container or a sidecar beside an Envoy that runs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from extproc.cli.config_file import ConfigFile, ConfigOption, required_config_file

DEFAULT_LISTEN: Final = "127.0.0.1:9002"


def serve(
    context: typer.Context,
    file: ConfigFile = None,
    *,
    config: ConfigOption = None,
    listen: Annotated[str, typer.Option(help="Where Envoy reaches it: host:port or unix:/path.")] = DEFAULT_LISTEN,
    admin: Annotated[str | None, typer.Option(help="host:port. Default: gateway.admin of the configuration.")] = None,
    xds_directory: Annotated[
        Path | None, typer.Option(help="Write lds.json and cds.json there, so that Envoy follows each reload.")
    ] = None,
    envoy_admin: Annotated[
        str | None, typer.Option(help="http://host:port of Envoy's admin interface, to heed its health checks.")
    ] = None,
) -> None:
    """Start the processor, and end it in order on SIGTERM or Ctrl-C."""
    import uvloop

    from extproc.cli.addresses import check_host_and_port, check_place
    from extproc.cli.console import failures_told
    from extproc.cli.processor import Options, run_processor

    path = required_config_file(context, file, config)
    options = Options(
        config=path,
        listen=check_place(listen),
        admin=None if admin is None else check_host_and_port(admin),
        xds_directory=xds_directory,
        envoy_admin=envoy_admin,
    )
    with failures_told(str(path)):
        raise typer.Exit(uvloop.run(run_processor(options)))
