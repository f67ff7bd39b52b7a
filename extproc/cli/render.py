"""``kortex render``: Envoy's configuration as files, for an Envoy that runs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from extproc.cli.config_file import ConfigFile, ConfigOption, required_config_file


def render(  # noqa: PLR0913 - the command's options
    context: typer.Context,
    file: ConfigFile = None,
    *,
    config: ConfigOption = None,
    output: Annotated[Path, typer.Option(help="Directory for bootstrap.json, lds.json and cds.json.")],
    worker: Annotated[
        list[str] | None, typer.Option(help="Where a processor is: host:port or unix:/path. May be given repeatedly.")
    ] = None,
    xds_directory: Annotated[
        str | None, typer.Option(help="Where Envoy sees lds.json and cds.json. Default: the output directory.")
    ] = None,
    admin: Annotated[
        str, typer.Option(help="Envoy's own admin interface: host:port or unix:/path.")
    ] = "127.0.0.1:9901",
    system_ca: Annotated[
        str | None,
        typer.Option(help="The PEM bundle of public authorities, as Envoy sees it. Default: this machine's."),
    ] = None,
) -> None:
    """Write what Envoy starts with, and the listeners and clusters that it follows. No secret is read."""
    from extproc.bootstrap.placement import Placement
    from extproc.bootstrap.render import render_bootstrap, render_clusters, render_listeners
    from extproc.bootstrap.system_roots import find_system_roots
    from extproc.bootstrap.xds_files import CLUSTERS, LISTENERS, write_json
    from extproc.cli.addresses import check_place
    from extproc.cli.console import failures_told
    from extproc.cli.serve import DEFAULT_LISTEN
    from extproc.cli.without_secrets import compile_without_secrets
    from extproc.config.load import load
    from extproc.providers.registry import SETTINGS
    from extproc.server.watch import read_config

    file = required_config_file(context, file, config)
    workers = tuple(worker or [DEFAULT_LISTEN])
    for address in (*workers, admin):
        check_place(address)
    with failures_told(str(file)):
        snapshot = compile_without_secrets(load(read_config(file), SETTINGS).config)
        placement = Placement(
            xds_directory=xds_directory or str(output.absolute()),
            workers=workers,
            admin=admin,
            system_ca=system_ca or find_system_roots(),
        )
        targets, version = snapshot.targets.values(), str(snapshot.number)
        try:
            bootstrap = render_bootstrap(snapshot.config, placement)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--worker") from None
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / "bootstrap.json", bootstrap)
        write_json(output / CLUSTERS, render_clusters(targets, version=version))
        write_json(output / LISTENERS, render_listeners(snapshot, targets, version=version))
