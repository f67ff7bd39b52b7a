"""The file of keys: made by the command, read at once however large, and every mistake in it told by its line."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from extproc.admission.keyring import KeyRing
from extproc.cli.main import app
from extproc.credentials.key_file import KeyFileInvalid, read_key_file
from extproc.headers import Headers

HASH = "sha256:" + "a" * 64
NOW = 1_800_000_000.0


def kortex(*arguments: str, code: int = 0) -> str:
    """The command's standard output."""
    result = CliRunner().invoke(app, ["keys", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def told(*arguments: str) -> str:
    """Its standard error."""
    return CliRunner().invoke(app, ["keys", *arguments]).stderr


def words(*arguments: str) -> str:
    """Its standard error, however its lines are broken."""
    return " ".join(told(*arguments).split())


def holder(path: Path, secret: str) -> str | None:
    """The name of the key that a secret opens as."""
    ring = KeyRing(read_key_file(path).cuts)
    return ring.identify(Headers([("x-api-key", secret)]), now=NOW).caller.key


def test_a_key_opens_when_it_was_created(tmp_path: Path) -> None:
    """It is printed and not kept; the file is its owner's alone."""
    path = tmp_path / "keys.jsonl"
    arguments = ("--tenant", "acme", "--tag", "a", "--tag", "b", "--model", "gpt-*", "--expires", "2999-01-01")
    secret = kortex("create", "ci", "--file", str(path), *arguments).strip()
    assert re.fullmatch(r"kx-[A-Za-z0-9_-]{43}", secret)
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert holder(path, secret) == "ci"
    entry = json.loads(path.read_text())
    assert (entry["tenant"], entry["tags"], entry["models"]) == ("acme", ["a", "b"], ["gpt-*"])
    shown = kortex("list", "--file", str(path))
    assert "ci" in shown
    assert "acme" in shown
    assert "sha256" not in shown


def test_how_long_the_secret_before_is_taken_is_told(tmp_path: Path) -> None:
    """Whoever rotates a key because it has leaked must not think that this is the end of it."""
    path = str(tmp_path / "keys.jsonl")
    kortex("create", "ci", "--file", path)
    assert "before" not in kortex("list", "--file", path)
    (until,) = re.findall(
        r"^the secret before is taken until (\S+Z)$", told("rotate", "ci", "--file", path), re.MULTILINE
    )
    assert f"a secret before until {until}" in " ".join(kortex("list", "--file", path).split())
    assert told("rotate", "ci", "--file", path, "--grace", "0s") == ""
    assert "--grace" in told("rotate", "ci", "--file", path, "--grace", "99999999h")


def test_two_secrets_open_when_a_key_was_rotated(tmp_path: Path) -> None:
    """Rotated again without grace, only the newest and those still in grace do."""
    path = tmp_path / "keys.jsonl"
    first = kortex("create", "ci", "--file", str(path)).strip()
    second = kortex("rotate", "ci", "--file", str(path), "--grace", "9999999h").strip()
    third = kortex("rotate", "ci", "--file", str(path), "--grace", "0s").strip()
    assert [holder(path, secret) for secret in (first, third)] == ["ci", "ci"]
    with pytest.raises(Exception, match="Incorrect"):
        holder(path, second)


def test_no_secret_opens_when_a_key_was_revoked(tmp_path: Path) -> None:
    """Its line stays; it cannot be made anew by the same name, nor rotated back to life."""
    path = tmp_path / "keys.jsonl"
    first = kortex("create", "ci", "--file", str(path)).strip()
    kortex("rotate", "ci", "--file", str(path), "--grace", "9999999h")
    kortex("revoke", "ci", "--file", str(path))
    with pytest.raises(Exception, match=r"Incorrect|expired"):
        holder(path, first)
    assert "(over)" in kortex("list", "--file", str(path))
    kortex("rotate", "ci", "--file", str(path), code=1)
    kortex("create", "ci", "--file", str(path), code=1)
    kortex("create", "ci-2", "--file", str(path))
    kortex("revoke", "nobody", "--file", str(path), code=1)


def test_what_is_advised_can_be_done_when_a_name_is_taken(tmp_path: Path) -> None:
    """A key that has ended is never rotated, so only another name helps there."""
    path = str(tmp_path / "keys.jsonl")
    kortex("create", "ci", "--file", path)
    assert "rotate it, or choose another name" in words("create", "ci", "--file", path)
    kortex("revoke", "ci", "--file", path)
    advice = words("create", "ci", "--file", path)
    assert "choose another name" in advice
    assert "rotate" not in advice
    assert "another name" in words("rotate", "ci", "--file", path)


def test_no_key_is_lost_when_many_are_created_at_once(tmp_path: Path) -> None:
    """Each command reads and writes the whole file."""
    path = tmp_path / "keys.jsonl"
    program = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from extproc.config.keys import ClientKey\n"
        "from extproc.credentials.key_store import add_key, hash_of, new_secret\n"
        "file, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for n in range(10):\n"
        "    add_key(file, ClientKey(name=f'{name}{n}', hash=hash_of(new_secret())), now=datetime.now(UTC))"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "abc"]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert len(read_key_file(path).names) == 30


def test_the_entry_is_printed_when_no_file_is_named() -> None:
    """For kortex.yaml; with the words' own checks."""
    result = CliRunner().invoke(app, ["keys", "create", "ci", "--user", "anna"])
    assert '"user":"anna"' in result.stderr
    assert result.stdout.strip() not in result.stderr
    assert CliRunner().invoke(app, ["keys", "create", "no name"]).exit_code == 2


def test_every_mistake_is_told_when_a_file_has_several(tmp_path: Path) -> None:
    """By its line, and without what could be a secret."""
    path = tmp_path / "keys.jsonl"
    lines = [
        f'{{"name": "a", "hash": "{HASH}"}}',
        f'{{"name": "a", "hash": "{HASH}"}}',
        '{"name": "b", "hash": "kx-not-a-hash"}',
        '{"name": "c", "secret": {"env": "X"}}',
        "{nonsense",
        f'{{"name": "d", "hash": "{HASH}", "kx-secret": 1}}',
    ]
    path.write_text("\n\n".join(lines))
    with pytest.raises(KeyFileInvalid) as caught:
        read_key_file(path)
    starts = [problem.partition(":")[0] for problem in caught.value.problems]
    assert starts == ["line 3", "line 5", "line 7", "line 9", "line 11"]
    assert "kx-" not in str(caught.value)


def test_a_hundred_thousand_keys_are_one_look_up_apart(tmp_path: Path) -> None:
    """Reading them is a matter of seconds: within the time that every test has, several times over."""
    path = tmp_path / "keys.jsonl"
    path.write_text(
        "".join(f'{{"name":"k{n}","hash":"sha256:{n:064x}","tenant":"t{n % 50}"}}\n' for n in range(100_000))
    )
    found = read_key_file(path)
    assert len(found.cuts) == 100_000
    assert read_key_file(path) is found


def test_what_has_been_read_is_not_read_again(tmp_path: Path) -> None:
    """A process that comes later is given what the one before it had read."""
    path, files = tmp_path / "keys.jsonl", dict[str, bytes]()
    path.write_bytes(b"")
    assert read_key_file(path, files).names == frozenset()
    assert files == {str(path): b""}
    path.write_text("broken")
    assert read_key_file(path, files).names == frozenset()
