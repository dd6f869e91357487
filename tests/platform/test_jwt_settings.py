"""The settings of tokens: which go together, and what is said of those that do not."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from shared.contracts.problems import Unauthenticated
from shared.platform.auth import authenticator_of, create_jwt
from shared.platform.database import engine_for
from shared.platform.settings import ApiSettings
from tests.platform.issuer import ISSUER, RSA, public_pem, published, signed

URL = "https://issuer.example/keys"


@pytest.fixture
def settings(environment, monkeypatch):
    """Those that the environment and these variables give; None: without it."""

    def read(**variables):
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(f"PENSTOCK_JWT_{name}", raising=False)
            else:
                monkeypatch.setenv(f"PENSTOCK_JWT_{name}", value)
        return ApiSettings()

    return read


def test_a_secret_is_enough(settings):
    read = settings()
    assert (read.jwt_jwks_url, read.jwt_issuer, read.jwt_audience) == (None, None, "penstock")
    assert (read.jwt_jwks_seconds, read.jwt_tenant_claim) == (300, "tenant")


@pytest.mark.parametrize("secret", [None, ""])
def test_so_is_a_jwks_url_with_its_issuer(settings, secret):
    assert settings(SECRET=secret, JWKS_URL=URL, ISSUER=ISSUER).jwt_secret is None


def test_a_key_is_no_secret(settings):
    for key in (public_pem(RSA).decode(), "ssh-rsa " + "AAAAB3NzaC1yc2E" * 8):
        with pytest.raises(ValidationError, match="PENSTOCK_JWT_SECRET is a PEM or SSH key") as caught:
            settings(SECRET=key)
        assert key[40:80] not in str(caught.value)


def test_an_empty_variable_is_none(settings):
    read = settings(JWKS_URL="", ISSUER="")
    assert (read.jwt_jwks_url, read.jwt_issuer) == (None, None)


@pytest.mark.parametrize("url", ["https://a.example/k", "https://a.example:8443/k?x=1", "http://127.0.0.1:1/k", "http://127.8.8.8/k", "http://[::1]:1/k", "http://localhost/k"])  # fmt: skip
def test_where_keys_may_come_from(settings, url):
    assert settings(JWKS_URL=url, ISSUER=ISSUER).jwt_jwks_url == url


@pytest.mark.parametrize("url", ["http://a.example/k", "http://10.0.0.1/k", "http://127.0.0.1.a.example/k", "http://localhost.a.example/k", "http://localhost@a.example/k", "https://me:hush@a.example/k", "file:///etc/passwd", "ftp://localhost/k", "a.example/k", "https://", "https:///k", "https://a.example:x/k", "https://a.example:99999/k", "nonsense"])  # fmt: skip
def test_where_keys_may_not_come_from(settings, url):
    with pytest.raises(ValidationError, match="PENSTOCK_JWT_JWKS_URL must be https://") as caught:
        settings(JWKS_URL=url, ISSUER=ISSUER)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("issuer", [None, "", "penstock"])
def test_a_jwks_url_has_an_issuer_that_is_not_us(settings, issuer):
    with pytest.raises(ValidationError, match="PENSTOCK_JWT_ISSUER must be set with PENSTOCK_JWT_JWKS_URL"):
        settings(JWKS_URL=URL, ISSUER=issuer)


def test_without_secret_and_jwks_url_the_secret_is_what_is_missing(settings):
    with pytest.raises(ValidationError) as caught:
        settings(SECRET=None)
    assert [(fault["loc"], fault["type"]) for fault in caught.value.errors()] == [
        (("jwt_secret",), "missing")
    ]


@pytest.mark.parametrize(
    "variables", [{"AUDIENCE": ""}, {"TENANT_CLAIM": ""}, {"JWKS_SECONDS": "0"}, {"JWKS_SECONDS": "nan"}]
)
def test_what_cannot_be(settings, variables):
    with pytest.raises(ValidationError):
        settings(**variables)


async def test_the_settings_make_the_authenticator(settings, environment, database_url):
    engine = engine_for(database_url, "results", pool_size=1)
    with published() as issuer:
        read = settings(JWKS_URL=issuer.url, ISSUER=ISSUER, AUDIENCE="mills", TENANT_CLAIM="org.id")
        authenticator = authenticator_of(read, engine)
        token = signed(aud="mills", tenant=None, org={"id": "mill"})
        assert (await authenticator.identify(token)).tenant == "mill"
        secret = environment["PENSTOCK_JWT_SECRET"]
        ours = create_jwt(secret, tenant="acme", scopes=[], audience="mills", lifetime=timedelta(minutes=1))
        assert (await authenticator.identify(ours)).tenant == "acme"
        with pytest.raises(Unauthenticated):
            await authenticator.identify(signed(tenant=None, org={"id": "mill"}))
    await engine.dispose()
