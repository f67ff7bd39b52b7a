"""TLS to providers: their certificate is checked for their name, by the system's authorities or the backend's own."""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.core.v3 import DataSource, TransportSocket
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    CommonTlsContextCombinedCertificateValidationContext,
    SdsSecretConfig,
    Secret,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from extproc.bootstrap.addresses import is_numeric
from extproc.bootstrap.typed_config import packed

_SYSTEM_ROOTS: Final = "system-roots"


def system_roots(path: str) -> Secret:
    """The public authorities, named once in the bootstrap: where they are belongs to the machine, not to a backend."""
    return Secret(
        name=_SYSTEM_ROOTS, validation_context=CertificateValidationContext(trusted_ca=DataSource(filename=path))
    )


def tls_to(host: str, ca_file: str | None) -> TransportSocket:
    """TLS with a certificate for ``host``. An address cannot be the server name (RFC 6066, 3), but may be in there."""
    numeric = is_numeric(host)
    kind = SubjectAltNameMatcherSanType.IP_ADDRESS if numeric else SubjectAltNameMatcherSanType.DNS
    # Exact, which for names in Envoy means as RFC 6125 has it: a certificate's wildcard stands for one label.
    names = [SubjectAltNameMatcher(san_type=kind, matcher=StringMatcher(exact=host))]
    context = UpstreamTlsContext(sni="" if numeric else host, common_tls_context=_trusting(names, ca_file))
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def _trusting(names: list[SubjectAltNameMatcher], ca_file: str | None) -> CommonTlsContext:
    if ca_file is not None:
        return CommonTlsContext(
            validation_context=CertificateValidationContext(
                trusted_ca=DataSource(filename=ca_file), match_typed_subject_alt_names=names
            )
        )
    return CommonTlsContext(
        combined_validation_context=CommonTlsContextCombinedCertificateValidationContext(
            default_validation_context=CertificateValidationContext(match_typed_subject_alt_names=names),
            validation_context_sds_secret_config=SdsSecretConfig(name=_SYSTEM_ROOTS),
        )
    )
