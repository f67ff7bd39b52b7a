"""A provider's error as its JSON says it: https://platform.openai.com/docs/guides/error-codes."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.steps import Json


@dataclass(frozen=True, slots=True)
class ProviderError:
    """``code`` is a word at OpenAI, an HTTP status at some others; ``param`` is the request field at fault."""

    message: str = "The server had an error while processing your request. Sorry about that!"
    type: str | None = "server_error"
    code: str | int | None = None
    param: str | None = None

    @property
    def document(self) -> Json:
        """The body of the reply, or the data of the event, that tells of it."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def of_status(status: int) -> ProviderError:
    """What a provider that answers with ``status`` usually says."""
    return _OF_STATUS.get(status) or (ProviderError() if status >= 500 else _invalid("The request was refused.", None))


def _invalid(message: str, code: str | None) -> ProviderError:
    return ProviderError(message, "invalid_request_error", code)


OVERLOADED = ProviderError("The engine is currently overloaded, please try again later", "server_error", "overloaded")
RATE_LIMITED = ProviderError(
    "Rate limit reached for requests per min (RPM): Limit 3, Used 3, Requested 1.", "requests", "rate_limit_exceeded"
)

_OF_STATUS = {
    401: _invalid("Incorrect API key provided.", "invalid_api_key"),
    403: _invalid("You are not allowed to use this model.", "permission_denied"),
    404: _invalid("The model does not exist or you do not have access to it.", "model_not_found"),
    429: RATE_LIMITED,
    503: OVERLOADED,
    529: OVERLOADED,
}
