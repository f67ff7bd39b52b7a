"""Secrets: read from where the config says, refused with the place and never the content, and hidden ever after."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NoReturn

import orjson
import pytest
from pydantic import Field

from extproc.config.backends import Backend
from extproc.config.gateway import Config
from extproc.config.scalars import Model, SecretRef
from extproc.credentials.secrets import Secret, SecretUnavailable, read_secret, secret_files

_VALUE = "sk-hunter2"


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param("{}".format, id="format"),
        pytest.param(lambda secret: f"{secret!r:>5} {secret:>5}", id="format-with-width"),
        pytest.param(lambda secret: "%s" % secret, id="percent"),  # noqa: UP031 - as logging does
        pytest.param(lambda secret: str([secret]), id="inside-a-list"),
        pytest.param(lambda secret: json.dumps({"key": secret}, default=str), id="json"),
    ],
)
def test_a_secret_shows_stars_when_printed(show: Callable[[Secret], str]) -> None:
    """However it is done."""
    shown = show(Secret(_VALUE))
    assert "***" in shown
    assert _VALUE not in shown


@pytest.mark.parametrize(
    "take",
    [
        pytest.param(pickle.dumps, id="pickle"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(orjson.dumps, id="orjson"),
        pytest.param(vars, id="vars"),
    ],
)
def test_a_secret_is_not_handed_out_when_something_looks_inside(take: Callable[[Secret], object]) -> None:
    """What takes values apart gets an error."""
    with pytest.raises(TypeError):
        take(Secret(_VALUE))


def test_a_secret_is_given_when_it_is_asked_for_by_name() -> None:
    """The one way to it."""
    assert Secret(_VALUE).reveal() == _VALUE


def test_a_secret_stays_as_it_is_when_assigned_to() -> None:
    """It is a value."""
    secret = Secret(_VALUE)
    with pytest.raises(AttributeError, match="cannot be changed"):
        secret._value = "other"  # noqa: SLF001 - that it is refused is the point
    assert secret.reveal() == _VALUE


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        pytest.param(Secret(_VALUE), True, id="the-same"),
        pytest.param(Secret("sk-hunter3"), False, id="another"),
        pytest.param(Secret("ключ"), False, id="not-ascii"),
        pytest.param(_VALUE, False, id="its-text"),
    ],
)
def test_secrets_are_equal_when_their_values_are(other: object, equal: bool) -> None:
    """So that a reload can tell whether a credential changed; plain text is no secret."""
    assert (Secret(_VALUE) == other) is equal
    assert (len({Secret(_VALUE), other}) == 1) is equal


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_VALUE, id="bare"),
        pytest.param(f"{_VALUE}\n", id="line"),
        pytest.param(f" {_VALUE}\r\n\n", id="white-space-around"),
    ],
)
def test_a_secret_is_read_when_it_is_there(content: str, tmp_path: Path) -> None:
    """From a variable and from a file alike."""
    path = tmp_path / "key"
    path.write_bytes(content.encode())
    link = tmp_path / "..data"
    link.symlink_to(path)
    assert read_secret(SecretRef(env="KEY"), {"KEY": content}) == Secret(_VALUE)
    assert read_secret(SecretRef(file=str(path)), {}) == Secret(_VALUE)
    assert read_secret(SecretRef(file=str(link)), {}) == Secret(_VALUE)


def test_a_secret_is_taken_when_it_is_as_large_as_allowed(tmp_path: Path) -> None:
    """The limit is the last size that works."""
    path = tmp_path / "key"
    path.write_bytes(b"x" * 65_536)
    assert len(read_secret(SecretRef(file=str(path)), {}).reveal()) == 65_536


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param({}, "the environment variable KEY is not set", id="missing"),
        pytest.param({"KEY": ""}, "the environment variable KEY is empty", id="empty"),
        pytest.param({"KEY": " \n"}, "the environment variable KEY is empty", id="blank"),
        pytest.param(
            {"KEY": f"{_VALUE}\r\nx-admin: 1"},
            "the environment variable KEY holds a line break or another character that does not print",
            id="line-break",
        ),
        pytest.param(
            {"KEY": f"{_VALUE}\udcff"},
            "the environment variable KEY holds a line break or another character that does not print",
            id="no-unicode",
        ),
    ],
)
def test_a_variable_is_named_when_its_secret_is_unavailable(environment: Mapping[str, str], message: str) -> None:
    """And what it holds is not repeated."""
    _check_refusal(SecretRef(env="KEY"), environment, message)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\n\n", "is empty", id="blank"),
        pytest.param(b"sk-hunter2\nsk-hunter2\n", "holds a line break or another character", id="two-lines"),
        pytest.param(b"sk-hunter2\x00", "holds a line break or another character", id="null"),
        pytest.param(b"sk-hunter2\x7f", "holds a line break or another character", id="delete"),
        pytest.param("sk-hunter2\u200b".encode(), "holds a line break or another character", id="invisible"),
        pytest.param(b"sk-hunter2\xff", "is not UTF-8 text", id="not-utf-8"),
        pytest.param(b"sk-hunter2" * 6554, "is larger than 64 KiB", id="large"),
    ],
)
def test_a_file_is_named_when_its_content_is_no_secret(content: bytes, complaint: str, tmp_path: Path) -> None:
    """And what it holds is not repeated, not even in the traceback."""
    path = tmp_path / "key"
    path.write_bytes(content)
    _check_refusal(SecretRef(file=str(path)), {}, f'the file "{path}" {complaint}')


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        pytest.param("missing", "does not exist", id="missing"),
        pytest.param("", "is a directory", id="directory"),
        pytest.param("pipe", "is no regular file", id="pipe"),
        pytest.param("file/below", "cannot be read: Not a directory", id="below-a-file"),
        pytest.param("loop", f"cannot be read: {os.strerror(errno.ELOOP)}", id="link-to-itself"),
    ],
)
def test_a_file_is_named_when_it_cannot_be_read(name: str, complaint: str, tmp_path: Path) -> None:
    """At once: a pipe without a writer would block."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path = tmp_path / name if name else tmp_path
    _check_refusal(SecretRef(file=str(path)), {}, f'the file "{path}" {complaint}')


def test_a_file_is_named_when_nobody_may_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, because the superuser may read everything."""

    def refuse(path: Path, mode: str) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    path = tmp_path / "key"
    path.write_text(_VALUE, encoding="utf-8")
    monkeypatch.setattr(Path, "open", refuse)
    _check_refusal(SecretRef(file=str(path)), {}, f'the file "{path}" cannot be read: Permission denied')


def test_a_file_is_refused_when_its_name_cannot_exist() -> None:
    """And the name is shown harmlessly."""
    message = 'the file "a\\u0000b" cannot exist: its name holds a null character'
    _check_refusal(SecretRef(file="a\0b"), {}, message)


def _check_refusal(ref: SecretRef, environment: Mapping[str, str], message: str) -> None:
    with pytest.raises(SecretUnavailable) as refusal:
        read_secret(ref, environment)
    assert str(refusal.value).startswith(message)
    assert "hunter2" not in "".join(traceback.format_exception(refusal.value))


class _Login(Model):
    keys: tuple[SecretRef, ...] = ()
    by_name: dict[str, SecretRef] = Field(default={})


class _Settings(Backend):
    provider: Literal["several"]
    login: _Login = _Login()


def test_every_file_is_listed_once_when_secrets_are_watched() -> None:
    """Wherever a provider's settings keep them; variables are no files."""
    config = Config.model_validate(
        {
            "backends": {
                "a": _Settings.model_validate(
                    {
                        "provider": "several",
                        "url": "http://a",
                        "apiKey": {"file": "/run/b"},
                        "login": {"keys": [{"file": "/run/c"}, {"env": "A"}], "byName": {"x": {"file": "/run/a"}}},
                    }
                ),
                "b": _Settings.model_validate({"provider": "several", "url": "http://b", "apiKey": {"file": "/run/b"}}),
            }
        }
    )
    assert secret_files(config) == (Path("/run/a"), Path("/run/b"), Path("/run/c"))
    assert secret_files(Config()) == ()


def test_what_has_been_read_is_not_read_again(tmp_path: Path) -> None:
    """A process that comes later is given what the one before it had read; what was no secret is not kept."""
    path, files = tmp_path / "key", dict[str, bytes]()
    ref = SecretRef(file=str(path))
    with pytest.raises(SecretUnavailable):
        read_secret(ref, {}, files)
    path.write_text("sk-first")
    assert read_secret(ref, {}, files).reveal() == "sk-first"
    path.unlink()
    assert read_secret(ref, {}, files).reveal() == "sk-first"
