"""Amazon Bedrock: https://docs.aws.amazon.com/bedrock/latest/userguide/inference-api.html"""

from __future__ import annotations

import re
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, model_validator

from extproc.config.backends import Backend, BaseUrl
from extproc.dialects.anthropic import InvokeTranslator
from extproc.dialects.bedrock_embeddings import CohereEmbeddings, TitanEmbeddings
from extproc.dialects.converse import ConverseTranslator
from extproc.openai.call import Call, Operation
from extproc.providers.base import Environment, Provider, bearer
from extproc.providers.signing import Signing

_URL: Final = "https://bedrock-runtime.{region}.amazonaws.com"
_REGION: Final = r"^[a-z]{2,8}(-[a-z]+)+-[0-9]{1,2}$"

# An application's profile or an imported model does not say whose it is, so its backend is taken at its word.
_MAY_BE_CLAUDE: Final = re.compile(
    r"claude|^arn:[^/]*:(?:application-inference-profile|imported-model|provisioned-model)/"
)


class Settings(Backend):
    """Amazon Bedrock. ``model`` is a model's id, or the id or ARN of an inference profile.

    Envoy signs the requests with AWS credentials, or they carry ``apiKey``, a Bedrock API key.
    """

    provider: Literal["bedrock"]
    region: str = Field(pattern=_REGION, examples=["us-east-1"])
    """The AWS region that is asked."""
    url: BaseUrl = _URL
    """Base URL, such as that of a VPC endpoint."""
    api: Literal["converse", "invoke"] = "converse"
    """``invoke``: Claude is asked in Anthropic's own format; other models, and embeddings, are not affected."""
    profile: str | None = Field(default=None, min_length=1)
    """The profile that signs. Default: AWS's usual chain of credentials, as Envoy finds them where it runs."""
    credentials_file: str | None = Field(default=None, min_length=1)
    """Credentials file in place of ``~/.aws/credentials``; Envoy reads it, and again when it is replaced."""

    @model_validator(mode="before")
    @classmethod
    def _endpoint(cls, given: Any) -> Any:  # noqa: ANN401 - pydantic's, before it is looked at
        """The region's own endpoint: https://docs.aws.amazon.com/general/latest/gr/bedrock.html"""
        if not isinstance(given, dict) or given.get("url") is not None:
            return given
        region = given.get("region")
        if not isinstance(region, str) or not re.match(_REGION, region):
            return given
        ending = ".cn" if region.startswith("cn-") else ""
        return {**given, "url": _URL.format(region=region) + ending}

    @model_validator(mode="after")
    def _one_credential(self) -> Settings:
        if self.api_key is not None and (self.profile or self.credentials_file):
            msg = "apiKey takes the place of a signature: leave out profile and credentialsFile"
            raise ValueError(msg)
        return self


def dialect(settings: Settings, model: str) -> str:
    """Converse speaks for all models that chat; embeddings have their makers' formats."""
    if "titan-embed" in model:
        return "titan_embeddings"
    if "cohere.embed" in model:
        return "cohere_embeddings"
    return "invoke" if settings.api == "invoke" and _MAY_BE_CLAUDE.search(model) else "converse"


def path(settings: Settings, call: Call, model: str) -> str:
    """``/model/<model>/converse`` and its siblings; the slashes and colons of an ARN are escaped."""
    base = urlsplit(settings.url).path.rstrip("/")
    invoked = dialect(settings, model) != "converse"
    whole, streamed = ("invoke", "invoke-with-response-stream") if invoked else ("converse", "converse-stream")
    return f"{base}/model/{quote(model, safe='')}/{streamed if call.stream else whole}"


def signing(settings: Settings) -> Signing | None:
    """Requests with an API key are not signed."""
    if settings.api_key is not None:
        return None
    return Signing(
        service="bedrock",
        region=settings.region,
        profile=settings.profile,
        credentials_file=settings.credentials_file,
    )


BEDROCK = Provider(
    name="bedrock",
    settings=Settings,
    offers={
        "converse": {Operation.CHAT: ConverseTranslator()},
        "invoke": {Operation.CHAT: InvokeTranslator()},
        "titan_embeddings": {Operation.EMBEDDINGS: TitanEmbeddings()},
        "cohere_embeddings": {Operation.EMBEDDINGS: CohereEmbeddings()},
    },
    path=path,
    authorize=bearer,
    dialect=dialect,
    signing=signing,
    price_list="aws",
    environment=Environment(
        key="AWS_BEARER_TOKEN_BEDROCK",
        together=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"),
        settings=(("region", "AWS_REGION"),),
        base_url="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        # Its list of models is another service's, and long: names are asked for as AWS writes them.
        lists=False,
        models=(
            "anthropic.*",
            "amazon.*",
            "meta.*",
            "us.*",
            "eu.*",
            "apac.*",
            "global.*",
            "arn:aws:bedrock:*",
        ),
    ),
)
