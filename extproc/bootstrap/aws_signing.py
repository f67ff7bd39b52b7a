"""The filter that signs requests to AWS, behind the attempt stage, which has written them by then.

https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/aws_request_signing_filter
"""

from __future__ import annotations

from pathlib import PurePath

from envoy_data_plane.envoy.config.core.v3 import DataSource, WatchedDirectory
from envoy_data_plane.envoy.extensions.common.aws.v3 import AwsCredentialProvider, CredentialsFileCredentialProvider
from envoy_data_plane.envoy.extensions.filters.http.aws_request_signing.v3 import AwsRequestSigning
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from extproc.bootstrap.typed_config import packed
from extproc.providers.signing import Signing

# Beside the host, which always is. The router and the codecs still change others, and then the signature is wrong.
_SIGNED = [StringMatcher(exact="content-type"), StringMatcher(prefix="x-amz")]


def signing_filter(signing: Signing) -> HttpFilter:
    """Signs headers and body."""
    signer = AwsRequestSigning(
        service_name=signing.service,
        region=signing.region,
        match_included_headers=_SIGNED,
        credential_provider=_credentials(signing),
    )
    return HttpFilter(name="envoy.filters.http.aws_request_signing", typed_config=packed(signer))


def _credentials(signing: Signing) -> AwsCredentialProvider | None:
    """None: the environment, the shared files, web identity, the container's and the instance's role, in this order.

    A profile that is named is meant: none of the others steps in where it is missing.
    """
    if signing.profile is None and signing.credentials_file is None:
        return None
    file = CredentialsFileCredentialProvider(profile=signing.profile or "")
    if signing.credentials_file is not None:
        folder = str(PurePath(signing.credentials_file).parent)
        file.credentials_data_source = DataSource(
            filename=signing.credentials_file, watched_directory=WatchedDirectory(path=folder)
        )
    return AwsCredentialProvider(credentials_file_provider=file, custom_credential_provider_chain=True)
