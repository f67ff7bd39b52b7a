"""A signature that Envoy makes: the credentials are its own to find, and never pass through the processor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """AWS's Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html

    Without ``profile`` and ``credentials_file``, the credentials are those of AWS's usual chain where Envoy runs.
    """

    service: str
    region: str
    profile: str | None = None
    credentials_file: str | None = None
