"""``kortex check``: all problems at once, each where it is and with how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from extproc.bootstrap.system_roots import find_system_roots
from extproc.cli.main import app

GOOD = """\
backends:
  a: {provider: openai, apiKey: {env: KORTEX_TEST_KEY}, unpriced: allow}
  b: {provider: custom, url: "https://llm.example:8443/api", caFile: CA, unpriced: allow}
routes:
  chat: {models: [m, "m-*"], defaultBackend: {name: a}, fallback: {backends: [b]}}
"""
BROKEN = """\
gateway: {listen: nowhere}
backends:
  a: {provider: openai, apiKey: {env: KORTEX_TEST_KEY}, modle: x}
routes:
  chat:
    models: [m]
    defaultBackend: {name: b}
    fallbak: {backends: [a]}
"""
RUNNER = CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that is in order; its authority is one that Envoy can read."""
    path = tmp_path / "kortex.yaml"
    path.write_text(GOOD.replace("CA", find_system_roots()))
    return path


def check(path: Path, *arguments: str, key: str | None = "sk-of-a-test") -> tuple[int, str]:
    """Exit code and all that was said."""
    result = RUNNER.invoke(app, ["check", str(path), *arguments], env={"KORTEX_TEST_KEY": key, "COLUMNS": "60"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_file_in_order_is_said_to_be_when_envoy_agrees(file: Path) -> None:
    """What it becomes was shown to the real Envoy."""
    assert check(file) == (0, f"{file}: no problems\n")


def test_every_secret_that_is_missing_is_told_at_once(file: Path) -> None:
    """Whoever reads it later: backends, callers, the ledger, the store, webhooks, traces."""
    file.write_text("""\
gateway: {tracing: {otlpEndpoint: "http://localhost:4318", headers: {x-token: {env: KORTEX_TEST_KEY}}}}
backends:
  a: {provider: openai, apiKey: {env: KORTEX_TEST_KEY}, unpriced: allow}
routes:
  chat: {models: [m], defaultBackend: {name: a}}
ledger: {url: "postgresql://me@db/x", password: {env: KORTEX_TEST_KEY}}
keys: [{name: k, secret: {env: KORTEX_TEST_KEY}}]
budgets: [{name: b, tokens: 1, webhook: {url: "http://localhost", secret: {env: KORTEX_TEST_KEY}}}]
quota: {url: "redis://localhost", password: {env: KORTEX_TEST_KEY}}
""")
    _, said = check(file, "--no-envoy", key=None)
    assert sorted(line.split(": ")[1] for line in said.splitlines() if line.endswith("is not set")) == [
        "backends.a.apiKey",
        "budgets[0].webhook.secret",
        "gateway.tracing.headers.x-token",
        "keys[0].secret",
        "ledger.password",
        "quota.password",
    ]


def test_all_problems_are_told_at_once(file: Path) -> None:
    """Each with its line, its path and a hint; nobody likes to be told one by one."""
    file.write_text(BROKEN)
    code, said = check(file)
    assert code == 1
    assert f"{file}:1: gateway.listen: " in said
    assert f"{file}:3: backends.a: " in said
    assert 'did you mean "model"?' in said
    assert f"{file}:7: routes.chat.defaultBackend.name: " in said
    assert f"{file}:8: routes.chat: " in said
    assert 'did you mean "fallback"?' in said
    assert said.endswith(f"{file}: 4 problems\n")


def test_secret_is_a_problem_when_it_cannot_be_read(file: Path) -> None:
    """The gateway would not start."""
    code, said = check(file, "--no-envoy", key=None)
    assert code == 1
    assert "backends.a.apiKey: the environment variable KORTEX_TEST_KEY is not set" in said


def test_secret_is_never_said(file: Path) -> None:
    """Neither when all is well nor when it is not."""
    assert "sk-of-a-test" not in check(file, "--no-envoy")[1]
    file.write_text(GOOD.replace("{env: KORTEX_TEST_KEY}", "sk-of-a-test"))
    code, said = check(file, "--no-envoy")
    assert code == 1
    assert "sk-of-a-test" not in said


def test_doubtful_entry_is_a_warning_and_no_problem(file: Path) -> None:
    """It works; it is hardly meant."""
    file.write_text(file.read_text().replace(", fallback: {backends: [b]}", ""))
    code, said = check(file, "--no-envoy")
    assert code == 0
    assert "backends.b: no route uses this backend" in said
    assert said.endswith(f"{file}: no problems, 1 warning\n")


def test_refusal_of_envoy_is_a_problem(file: Path) -> None:
    """Only Envoy knows whether it can read the authority."""
    missing = file.with_name("missing.pem")
    file.write_text(GOOD.replace("CA", str(missing)))
    code, said = check(file)
    assert code == 1
    assert "Envoy refuses what this becomes" in said
    assert str(missing) in said


def test_secret_and_envoy_are_told_together(file: Path) -> None:
    """One is no reason not to look for the other."""
    file.write_text(GOOD.replace("CA", str(file.with_name("missing.pem"))))
    said = check(file, key=None)[1]
    assert "KORTEX_TEST_KEY is not set" in said
    assert "Envoy refuses" in said
    assert said.endswith(": 2 problems\n")


def test_reason_is_told_when_envoy_cannot_be_asked(file: Path) -> None:
    """That is no verdict about the file."""
    missing = file.with_name("envoy")
    assert check(file, "--envoy", str(missing)) == (1, f"kortex: there is no Envoy binary at {missing}\n")
    assert check(file, "--envoy", str(file)) == (1, f"kortex: cannot run {file}: Permission denied\n")


def test_reason_is_told_when_there_is_no_file(tmp_path: Path) -> None:
    """One sentence and no traceback."""
    path = tmp_path / "missing.yaml"
    assert check(path) == (1, f"kortex: {path} cannot be read: No such file or directory\n")


PRICED = """\
backends:
  a: {provider: openai, apiKey: {env: KORTEX_TEST_KEY}, POLICY}
  b: {provider: vllm, url: "http://vllm:8000", model: local}
routes:
  chat: {models: [gpt-4o, own-model, "gpt-*"], defaultBackend: {name: a}, fallback: {backends: [b]}}
"""


@pytest.mark.parametrize(
    ("policy", "warned"),
    [
        ("model: gpt-4o", []),
        ("forwardHeaders: []", ['a: no price is known for the model "own-model" in ']),
        ("unpriced: allow", []),
        ("unpriced: reject", ['a: no price is known for the model "own-model" in ']),
        ('cost: {inputTokenCost: "1", outputTokenCost: "2"}', []),
        ('unpriced: {inputTokenCost: "1", outputTokenCost: "2"}', []),
    ],
)
def test_model_without_a_price_is_a_warning(file: Path, policy: str, warned: list[str]) -> None:
    """Every one that clients can reach, with the list that does not have it, unless that was decided."""
    file.write_text(PRICED.replace("POLICY", policy))
    said = check(file, "--no-envoy")[1].splitlines()
    found = [line.partition("backends.")[2] for line in sorted(said) if "no price" in line]
    wanted = [*warned, 'b: no price is known for the model "local" in ']
    assert [line[: len(start)] for line, start in zip(found, wanted, strict=True)] == wanted
    assert all("genai-prices" in line for line in found)
    assert ("calls are refused" in found[0]) is (policy == "unpriced: reject")


def test_no_price_is_missed_when_the_gateway_allows_that(file: Path) -> None:
    """Written, it is a decision."""
    file.write_text("gateway: {unpriced: allow}\n" + PRICED.replace(", POLICY", ""))
    assert check(file, "--no-envoy") == (0, f"{file}: no problems\n")


@pytest.mark.parametrize(
    ("budgets", "warned"),
    [
        ("", []),
        ("budgets: [{name: b, tokens: 9}]", []),
        ('budgets: [{name: b, amount: "9"}]', ["backends.b: its calls cost EUR, and budgets count USD alone"]),
        ('budgets: [{name: b, amount: "9", currency: EUR}]', ["backends.a: its calls cost USD"]),
        ('budgets: [{name: b, amount: "9", currency: CHF}]', ["backends.a: its calls cost USD", "backends.b: its"]),
        ('budgets: [{name: b, amount: "9", currency: EUR}, {name: c, amount: "9"}]', []),
        (f'keys: [{{name: k, hash: "sha256:{"0" * 64}", budgets: [{{name: b, amount: "9"}}]}}]', ["backends.b: its"]),
    ],
)
@pytest.mark.parametrize("models", ["[gpt-4o]", '["gpt-*"]'])
def test_money_that_no_budget_counts_is_a_warning(file: Path, budgets: str, warned: list[str], models: str) -> None:
    """Nothing is converted, so that such calls would pass every budget unseen; the embedded model costs nothing."""
    file.write_text(f"""\
gateway: {{unpriced: allow}}
{budgets}
backends:
  a: {{provider: openai, apiKey: {{env: KORTEX_TEST_KEY}}}}
  b: {{provider: vllm, url: "http://vllm:8000", cost: {{inputTokenCost: "1", outputTokenCost: "1", currency: EUR}}}}
  demo: {{provider: demo}}
routes:
  chat: {{models: {models}, defaultBackend: {{name: a}}, fallback: {{backends: [b, demo]}}}}
""")
    code, output = check(file, "--no-envoy")
    lines = sorted(line.partition(": ")[2] for line in output.splitlines() if "calls cost" in line)
    assert [line[: len(start)] for line, start in zip(lines, warned, strict=True)] == warned
    assert code == 0


def test_usage_is_told_when_there_is_no_argument() -> None:
    """By exit code 2, as everywhere."""
    assert RUNNER.invoke(app, ["check"]).exit_code == 2
