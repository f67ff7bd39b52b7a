"""Gemini and Claude on Google Cloud's Vertex AI: https://cloud.google.com/vertex-ai/generative-ai/docs"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator

from extproc.config.backends import Backend, BaseUrl
from extproc.config.scalars import SecretRef
from extproc.dialects.anthropic import AnthropicTranslator
from extproc.dialects.anthropic.hosting import VERTEX as VERTEX_HOSTING
from extproc.dialects.gemini import GeminiTranslator, VertexEmbeddings
from extproc.openai.call import Call, Operation
from extproc.providers.base import Environment, Fields, Provider, bearer, versioned_path
from extproc.providers.token_request import GoogleToken

_CLAUDE: Final = re.compile(r"claude-|.*publishers/anthropic/models/")
_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._@-]*"
_RESOURCE: Final = re.compile(rf"publishers/{_NAME}/models/{_NAME}|endpoints/{_NAME}")
_MULTI_REGIONS: Final = frozenset({"us", "eu"})


class Settings(Backend):
    """Google Cloud's Vertex AI, with Google's own credentials in place of a key."""

    provider: Literal["vertex"]
    url: BaseUrl = "https://aiplatform.googleapis.com"
    """Base URL. Default: that of the location."""
    api_key: SecretRef | None = Field(default=None, exclude=True)
    """None: see ``credentialsFile``."""
    project: str = Field(pattern=r"^[a-z0-9][a-z0-9.:-]{0,99}$")
    """The id of the Google Cloud project."""
    location: str = Field(default="global", pattern=r"^[a-z0-9-]{1,40}$")
    """A region such as ``europe-west4``, ``us`` or ``eu``, or ``global``."""
    credentials_file: str | None = Field(default=None, min_length=1)
    """A service account's key, or the configuration of a workload identity. Default: what the host offers."""
    dialect: Literal["gemini", "anthropic"] | None = None
    """Whose format the model speaks. Default: ``anthropic`` for ``claude-*``, ``gemini`` for all others."""

    @model_validator(mode="before")
    @classmethod
    def _address_of_the_location(cls, given: object) -> object:
        if not isinstance(given, dict) or "url" in given or not isinstance(given.get("location"), str):
            return given
        return {**given, "url": address_of(given["location"])}

    @field_validator("api_key", mode="before")
    @classmethod
    def _has_no_key(cls, value: object) -> object:
        if value is not None:
            msg = "vertex takes no key: leave it out for the host's own credentials, or name a credentialsFile"
            raise ValueError(msg)
        return value


def address_of(location: str) -> str:
    """https://cloud.google.com/vertex-ai/docs/reference/rest#service-endpoint"""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def dialect(settings: Settings, model: str) -> str:
    """Claude is asked in its maker's own words."""
    if settings.dialect is not None:
        return settings.dialect
    return "anthropic" if _CLAUDE.match(model) else "gemini"


def path(settings: Settings, call: Call, model: str) -> str:
    """``…/projects/<project>/locations/<location>/publishers/<maker>/models/<model>:<method>``.

    A model may also be named with its publisher, as an endpoint's number, or, by the operator, by its whole resource
    name: a client does not choose the project that pays.
    """
    speaks = dialect(settings, model)
    claude = speaks == "anthropic"
    version = versioned_path(settings.url, version="v1" if claude else "v1beta1")
    place = f"projects/{settings.project}/locations/{settings.location}"
    maker = "anthropic" if claude else "google"
    if model == settings.model and model.startswith("projects/"):
        name = quote(model, safe="/@")
    elif _RESOURCE.fullmatch(model):
        name = f"{place}/{model}"
    elif model.isdecimal():
        name = f"{place}/endpoints/{model}"
    else:
        name = f"{place}/publishers/{maker}/models/{quote(model, safe='@')}"
    return f"{version}/{name}:{_method(call, claude=claude)}"


def _method(call: Call, *, claude: bool) -> str:
    if call.operation is Operation.EMBEDDINGS:
        return "predict"
    if claude:
        return "streamRawPredict" if call.stream else "rawPredict"
    return "streamGenerateContent?alt=sse" if call.stream else "generateContent"


def token(settings: Settings) -> GoogleToken:
    """https://cloud.google.com/docs/authentication/rest"""
    return GoogleToken(credentials_file=settings.credentials_file)


def authorize(settings: Settings, credential: str | None) -> Fields:
    """Google's access token."""
    return bearer(settings, credential)


VERTEX = Provider(
    name="vertex",
    settings=Settings,
    offers={
        "gemini": {Operation.CHAT: GeminiTranslator(cloud=True), Operation.EMBEDDINGS: VertexEmbeddings()},
        "anthropic": {Operation.CHAT: AnthropicTranslator(hosting=VERTEX_HOSTING)},
    },
    dialect=dialect,
    token=token,
    path=path,
    authorize=authorize,
    price_list="google",
    environment=Environment(
        together=("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"),
        settings=(("project", "GOOGLE_CLOUD_PROJECT"), ("location", "GOOGLE_CLOUD_LOCATION")),
        lists=False,
    ),
)
