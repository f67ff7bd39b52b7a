"""Where Envoy finds AWS's credentials by itself: the environment, and what a container's platform gives out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import openai
import pytest
from botocore.credentials import Credentials

from tests.envoy.kortex_process import KortexProcess
from tests.fakes.bedrock_provider import CREDENTIALS, PROFILE, REGION, FakeBedrock
from tests.fakes.openai_provider import FakeProvider
from tests.fakes.recorded import Recorded
from tests.fakes.steps import Reply, json_reply

TOKEN = "the-platform-s-own-token"
NOTHING = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_SESSION_TOKEN": "",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}
CONFIG = """
backends: {{aws: {{provider: bedrock, region: us-east-1, url: "{url}"}}}}
routes: {{aws: {{models: ["*"], defaultBackend: {{name: aws}}}}}}
"""


class FakePlatform(FakeProvider):
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html"""

    def _answer(self, request: Recorded) -> Reply:
        if request.path != "/credentials" or request.headers.get("authorization") != TOKEN:
            return json_reply({"message": "no"}, status=403)
        expires = datetime.now(UTC) + timedelta(hours=6)
        return json_reply(
            {
                "AccessKeyId": CREDENTIALS.access_key,
                "SecretAccessKey": CREDENTIALS.secret_key,
                "Token": CREDENTIALS.token,
                "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )


def says_hello(gateway: KortexProcess, model: str) -> str | None:
    """The answer to a streamed chat, once there is one: credentials are looked for in the background."""
    client = openai.OpenAI(base_url=gateway.base_url, api_key="k", max_retries=0, timeout=30)
    with client:
        try:
            chunks = list(
                client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "hello"}], stream=True
                )
            )
        except openai.PermissionDeniedError:
            return None
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_bedrock_is_there_without_a_file_when_the_environment_has_credentials() -> None:
    """Under the names that AWS gives its models, and with the provider's name in front."""
    with FakeBedrock(name="aws") as fake:
        environment = {
            "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
            "AWS_SESSION_TOKEN": str(CREDENTIALS.token),
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": fake.base_url,
        }
        with KortexProcess(env=environment) as gateway:
            for model in ("amazon.nova-pro-v1:0", "bedrock/amazon.nova-pro-v1:0"):
                assert says_hello(gateway, model) == "aws says: hello"
        assert {request.path for request in fake.requests} == {"/model/amazon.nova-pro-v1%3A0/converse-stream"}


def test_credentials_of_a_container_sign() -> None:
    """As ECS and EKS Pod Identity give them out."""
    with FakeBedrock(name="aws") as fake, FakePlatform(name="platform") as platform:
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{platform.base_url}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
            **NOTHING,
        }
        with KortexProcess(CONFIG.format(url=fake.base_url), env=environment) as gateway:
            assert gateway.until(lambda: says_hello(gateway, "m"), "credentials are there") == "aws says: hello"
        assert platform.requests


def test_client_is_told_when_there_are_no_credentials() -> None:
    """At once, and the operator reads it in the log; nothing of the client's goes along in their place."""
    with (
        FakeBedrock(name="aws") as fake,
        KortexProcess(CONFIG.format(url=fake.base_url), env=NOTHING) as gateway,
        openai.OpenAI(base_url=gateway.base_url, api_key="client-key", max_retries=0, timeout=30) as client,
    ):
        with pytest.raises(openai.PermissionDeniedError, match="refused the gateway's credential"):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
        assert "backend aws is misconfigured" in gateway.until(lambda: gateway.stderr, "it is logged")
        assert "authorization" not in fake.requests[0].headers


def test_profile_of_the_usual_file_signs(tmp_path: Path) -> None:
    """And none of the environment's credentials, which come first in AWS's own order."""
    write_profile(tmp_path / "credentials", PROFILE)
    environment = {
        "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
        "AWS_SESSION_TOKEN": str(CREDENTIALS.token),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    with FakeBedrock(name="aws") as fake:
        config = CONFIG.replace("region:", "profile: team, region:").format(url=fake.base_url)
        with KortexProcess(config, env=environment) as gateway:
            assert says_hello(gateway, "m") == "aws says: hello"
        assert f"Credential={PROFILE.access_key}/" in fake.requests[0].headers["authorization"]


def test_replaced_credentials_file_is_read_again(tmp_path: Path) -> None:
    """As what rotates credentials replaces it: by renaming."""
    file = tmp_path / "credentials"
    write_profile(file, CREDENTIALS)
    with FakeBedrock(name="aws") as fake:
        keys = f"profile: team, credentialsFile: {file}, region:"
        with KortexProcess(CONFIG.replace("region:", keys).format(url=fake.base_url), env=NOTHING) as gateway:
            assert says_hello(gateway, "m") == "aws says: hello"
            write_profile(file, PROFILE)

            def signed_anew() -> bool:
                assert says_hello(gateway, "m") == "aws says: hello"
                return f"Credential={PROFILE.access_key}/" in fake.requests[-1].headers["authorization"]

            gateway.until(signed_anew, "the new credentials sign")


def write_profile(file: Path, credentials: Credentials) -> None:
    """In place of what was there, by renaming."""
    token = "" if credentials.token is None else f"aws_session_token = {credentials.token}\n"
    aside = file.with_name("aside")
    aside.write_text(
        f"[team]\naws_access_key_id = {credentials.access_key}\n"
        f"aws_secret_access_key = {credentials.secret_key}\n{token}"
    )
    aside.replace(file)
