"""Every error a client can be told about: the class says HTTP status, OpenAI's ``type`` and ``code``, and whose fault.

    KortexError
    ├── ClientError                 the request cannot be served as it stands
    │   ├── InvalidRequest              400 invalid_request_error
    │   ├── UnsupportedFeature          400 invalid_request_error / unsupported_feature
    │   ├── ContextTooSmall             400 invalid_request_error / context_length_exceeded
    │   ├── RefusedByRule               as the rule says: 403 invalid_request_error / refused_by_rule
    │   ├── ModelUnpriced               400 invalid_request_error / model_unpriced
    │   ├── ModelNotFound               404 invalid_request_error / model_not_found
    │   ├── PathNotFound                404 invalid_request_error / unknown_url
    │   ├── MethodNotAllowed            405 invalid_request_error / method_not_supported
    │   ├── BodyTooLarge                413 invalid_request_error / request_too_large
    │   └── HeadersTooLarge             431 invalid_request_error / headers_too_large
    ├── GatewayError                Kortex could not do its own part
    │   ├── InternalError               500 server_error / internal_error
    │   └── CredentialUnavailable       503 server_error / credential_unavailable
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
    """The path exists, the method does not fit it. ``allow`` is the value of the Allow header."""

    status = 405
    code = "method_not_supported"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


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
