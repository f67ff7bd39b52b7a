"""What holds for every test: no key or proxy of the developer's, generous deadlines, and `--update-golden`."""

from __future__ import annotations

import fnmatch
import os

import pytest
from hypothesis import HealthCheck, settings

# What an unconfigured gateway or an HTTP client would pick up from the environment.
_PERSONAL = (
    *("*_API_KEY", "*_PROXY", "*_proxy", "KORTEX_*", "OLLAMA_HOST", "VLLM_URL"),
    *("AZURE_*", "IDENTITY_*", "CO_API_URL"),
)

# An example may take long on a busy machine; a test that hangs is ended by the timeout that every test has.
# A busy machine is no defect.
settings.register_profile(
    "kortex",
    parent=settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kortex")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that `make golden` uses."""
    parser.addoption(
        "--update-golden", action="store_true", help="only run golden tests, and let them rewrite their files"
    )


def pytest_configure() -> None:
    """Forget the developer's own keys and proxies, before anything reads them."""
    for name in [name for name in os.environ if any(fnmatch.fnmatchcase(name, shape) for shape in _PERSONAL)]:
        del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--update-golden`, run only the tests that have a golden file to rewrite."""
    if config.getoption("--update-golden"):
        kept = [item for item in items if "update_golden" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden"))
