"""Who calls: a JWT or an API key, each with one tenant and its scopes."""

from shared.platform.auth.api_keys import (
    API_KEY_PREFIX,
    ApiKey,
    ApiKeyVerifier,
    all_api_keys,
    checked_name,
    count_live_api_keys,
    create_api_key,
    find_api_key,
    list_api_keys,
    prefix_of,
    revoke_api_key,
)
from shared.platform.auth.authenticator import Authenticator, Permit, authenticator_of
from shared.platform.auth.jwks import Jwks
from shared.platform.auth.jwt import ALGORITHM, OUR_ISSUER, JwtVerifier, create_jwt
from shared.platform.auth.principal import Principal, checked_tenant, parse_scopes

__all__ = [
    "ALGORITHM",
    "API_KEY_PREFIX",
    "OUR_ISSUER",
    "ApiKey",
    "ApiKeyVerifier",
    "Authenticator",
    "Jwks",
    "JwtVerifier",
    "Permit",
    "Principal",
    "all_api_keys",
    "authenticator_of",
    "checked_name",
    "checked_tenant",
    "count_live_api_keys",
    "create_api_key",
    "create_jwt",
    "find_api_key",
    "list_api_keys",
    "parse_scopes",
    "prefix_of",
    "revoke_api_key",
]
