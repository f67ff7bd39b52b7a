"""A client's key by its name in the config, for looking at what its holder may do: no secret is read."""

from __future__ import annotations

from pathlib import Path

from extproc.admission.keyring import Key, key_of
from extproc.cli.console import Failed
from extproc.config.gateway import Config
from extproc.config.problems import suggest
from extproc.credentials.key_file import KeyFileInvalid, read_key_file


def find_key(config: Config, name: str) -> Key:
    """Raises Failed when there is none, or the file of keys is not what it should be."""
    keys = {entry.name: key_of(entry) for entry in config.keys or ()}
    if config.keys_file is not None:
        try:
            cuts = read_key_file(Path(config.keys_file)).cuts
        except KeyFileInvalid as error:
            raise Failed(str(error)) from error
        keys |= {cut.key.caller.key or "": cut.key for cut in cuts}
    if name not in keys:
        raise Failed(f"no key is called {name!r}: {suggest(name, keys, otherwise='there are') or 'there are none'}")
    return keys[name]
