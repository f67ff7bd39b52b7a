"""Asks an Envoy binary what it is, and whether it takes a configuration."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from extproc.bootstrap.process import EnvoyError
from extproc.bootstrap.xds_files import write_json

_SECONDS: Final = 60.0
_VERSION: Final = re.compile(r"version: [0-9a-f]+/(?P<number>[^/\s]+)/")
_COMPLAINT: Final = re.compile(
    r"^\[[^\]]*\]\[\d+\]\[(?:critical|error)\]\[[^\]]*\] (?:\[[^\]]*\] )?(?P<text>.*)$", re.MULTILINE
)


def envoy_version(binary: Path) -> str:
    """Such as ``1.40.0``. Raises EnvoyError when it cannot be run, or is something else."""
    found = _VERSION.search(_run(binary, "--version").stdout)
    if found is None:
        message = f"{binary} is no Envoy: it does not say its version"
        raise EnvoyError(message)
    return found["number"]


def validate(binary: Path, bootstrap: Mapping[str, Any]) -> str | None:
    """None when Envoy would start with it, else Envoy's reason. Raises EnvoyError when it cannot be asked."""
    with tempfile.TemporaryDirectory(prefix="kortex-") as directory:
        path = Path(directory) / "bootstrap.json"
        write_json(path, dict(bootstrap))
        done = _run(binary, "--mode", "validate", "--log-level", "error", "-c", str(path))
    if done.returncode == 0:
        return None
    complaints = [found["text"] for found in _COMPLAINT.finditer(done.stderr)]
    return "\n".join(dict.fromkeys(complaints)) or done.stderr.strip() or f"exit code {done.returncode}"


def _run(binary: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the binary that the operator named, without a shell
            [str(binary), *arguments], capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except OSError as error:
        message = f"cannot run {binary}: {error.strerror or error}"
        raise EnvoyError(message) from error
    except subprocess.TimeoutExpired:
        message = f"{binary} gave no answer within {_SECONDS:.0f} s"
        raise EnvoyError(message) from None
