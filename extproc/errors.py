"""Every error a client can be told about: the class says HTTP status, OpenAI's ``type`` and ``code``, and whose fault.

    KortexError
    ├── ClientError                 the request cannot be served as it stands
    │   ├── InvalidRequest              400 invalid_request_error
    │   ├── UnsupportedFeature          400 invalid_request_error / unsupported_feature
    │   ├── ContextTooSmall             400 invalid_request_error / context_length_exceeded
    │   ├── RefusedByRule               as the rule says: 403 invalid_request_error / refused_by_rule
    │   ├── InvalidApiKey               401 invalid_request_error / invalid_api_key
    │   ├── ModelNotAllowed             403 invalid_request_error / model_not_allowed
    │   ├── RateLimited                 429 requests, tokens or concurrent / rate_limit_exceeded
    │   ├── BudgetExhausted             429 insufficient_quota / insufficient_quota
    │   ├── ModelUnpriced               400 invalid_request_error / model_unpriced
    │   ├── ModelNotFound               404 invalid_request_error / model_not_found
    │   ├── PathNotFound                404 invalid_request_error / unknown_url
    │   ├── MethodNotAllowed            405 invalid_request_error / method_not_supported
    │   ├── BodyTooLarge                413 invalid_request_error / request_too_large
    │   └── HeadersTooLarge             431 invalid_request_error / headers_too_large
    ├── GatewayError                Kortex could not do its own part
    │   ├── InternalError               500 server_error / internal_error
    │   ├── CredentialUnavailable       503 server_error / credential_unavailable
    │   └── QuotaUnavailable            503 server_error / quota_unavailable
    └── UpstreamError               a provider refused, failed, or said something that is not an answer

The JSON that carries them is written by ``extproc.openai.error_body``.
OpenAI's own statuses, types and codes: https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations


class KortexError(Exception):
    """The base: ``status`` (HTTP), ``type`` and ``code`` (OpenAI's), ``param`` (the field at fault, or None)."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """What the reply's headers say beside the body."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class ClientError(KortexError):
    """The client's to mend; trying again unchanged gives the same answer."""

    status = 400
    type = "invalid_request_error"


class InvalidRequest(ClientError):
    """The body is not what the operation asks for."""


class UnsupportedFeature(ClientError):
    """No backend of the model can do what the request needs."""

    code = "unsupported_feature"


class ContextTooSmall(ClientError):
    """The prompt, with the answer it asks for, is longer than any backend of the model can hold."""

    code = "context_length_exceeded"


class RefusedByRule(ClientError):
    """A rule of the route says that the call is not to be served."""

    def __init__(self, message: str, *, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.type = "invalid_request_error" if status < 500 else "server_error"


class InvalidApiKey(ClientError):
    """The gateway asks for a key, and this is none of its own, or no longer. The message never repeats it."""

    status = 401
    code = "invalid_api_key"
    headers = (("www-authenticate", "Bearer"),)


class ModelNotAllowed(ClientError):
    """The key is good, but not for this model."""

    status = 403
    code = "model_not_allowed"


class ModelUnpriced(ClientError):
    """Nobody knows what the model costs, and the operator wants no such calls."""

    code = "model_unpriced"


class ModelNotFound(ClientError):
    """No route serves the model, or this caller may not know of it."""

    status = 404
    code = "model_not_found"


class PathNotFound(ClientError):
    """The path is none of the API's."""

    status = 404
    code = "unknown_url"


class MethodNotAllowed(ClientError):
    """The path exists, the method does not fit it. ``allow`` lists those that do."""

    status = 405
    code = "method_not_supported"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.headers = (("allow", allow),)


class RateLimited(ClientError):
    """A limit of the gateway's own, not a provider's. ``kind`` is what there is too much of, OpenAI's ``type``."""

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, kind: str, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.type = kind
        self.headers = headers


class BudgetExhausted(ClientError):
    """A budget has no room for the request."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self, message: str, *, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.headers = headers


class BodyTooLarge(ClientError):
    """The body is over the gateway's limit."""

    status = 413
    code = "request_too_large"


class HeadersTooLarge(ClientError):
    """The request's headers are more, or larger, than the gateway takes."""

    status = 431
    code = "headers_too_large"


class GatewayError(KortexError):
    """The gateway's fault; the client may try again."""


class InternalError(GatewayError):
    """Something in Kortex broke; the log has the traceback, the client has the request id."""

    code = "internal_error"


class CredentialUnavailable(GatewayError):
    """The backend's credential could not be had in time."""

    status = 503
    code = "credential_unavailable"


class QuotaUnavailable(GatewayError):
    """What the caller may still use could not be counted, and the config says to refuse then."""

    status = 503
    code = "quota_unavailable"


class UpstreamError(KortexError):
    """What a provider's failure means to the client.

    Unlike the classes above, one provider's error differs from the next in status, type and code, so they are values
    here. ``provider_message`` is the provider's own sentence, already part of ``message`` where it may be shown.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str = "server_error",  # noqa: A002 - OpenAI's name for it
        code: str | None = None,
        param: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.status = status
        self.type = type
        self.code = code
        self.retry_after = retry_after
