"""Who calls: a JWT, an API key or the session of a browser, each with one tenant and its scopes."""

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
from shared.platform.auth.cross_site import refuse_cross_site
from shared.platform.auth.jwks import Jwks
from shared.platform.auth.jwt import ALGORITHM, OUR_ISSUER, JwtVerifier, create_jwt
from shared.platform.auth.principal import Principal, checked_tenant, parse_scopes
from shared.platform.auth.sessions import (
    COOKIE,
    SECURE_COOKIE,
    SessionVerifier,
    hash_of_session,
    new_session_id,
    session_id,
    session_ids,
)

__all__ = [
    "ALGORITHM",
    "API_KEY_PREFIX",
    "COOKIE",
    "OUR_ISSUER",
    "SECURE_COOKIE",
    "ApiKey",
    "ApiKeyVerifier",
    "Authenticator",
    "Jwks",
    "JwtVerifier",
    "Permit",
    "Principal",
    "SessionVerifier",
    "all_api_keys",
    "authenticator_of",
    "checked_name",
    "checked_tenant",
    "count_live_api_keys",
    "create_api_key",
    "create_jwt",
    "find_api_key",
    "hash_of_session",
    "list_api_keys",
    "new_session_id",
    "parse_scopes",
    "prefix_of",
    "refuse_cross_site",
    "revoke_api_key",
    "session_id",
    "session_ids",
]
