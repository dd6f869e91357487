"""Settings: which secrets are none, and that none is shown."""

import os
import secrets

import pytest
from pydantic import ValidationError

from shared.platform.settings import ApiSettings, StoreSettings

URL = "postgresql://penstock:swordfish@db/penstock"


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
        monkeypatch.delenv(name)
    values = {
        "PENSTOCK_DATABASE_URL": URL,
        "PENSTOCK_BUS_URL": "amqp://penstock:swordfish@bus/",
        "PENSTOCK_STORE_URL": "s3://files",
        "PENSTOCK_JWT_SECRET": secrets.token_hex(32),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


PLACEHOLDERS = [
    "change-me-change-me-change-me-change-me",
    "CHANGE_ME_before_you_go_to_production!",
    "changeme" * 5,
    "development-only-0f8a6b1c9d3e7a5b2c4d",
    "0f8a6b1c9d3e7a5b2c4d-DEVELOPMENT-0f8a6b1c",
]


@pytest.mark.parametrize(
    "secret",
    ["correct horse battery staple, and a mill by the river", *(secrets.token_hex(32) for _ in "ab")],
    ids=["words", "hex", "other hex"],
)
def test_a_secret_of_ones_own_is_taken(secret, environment, monkeypatch):
    monkeypatch.setenv("PENSTOCK_JWT_SECRET", secret)
    assert ApiSettings().jwt_secret.get_secret_value() == secret


@pytest.mark.parametrize("secret", PLACEHOLDERS)
def test_a_production_start_refuses_it_and_says_what_to_do(secret, environment, monkeypatch):
    monkeypatch.setenv("PENSTOCK_JWT_SECRET", secret)
    with pytest.raises(ValidationError) as refused:
        ApiSettings()
    assert "openssl rand -hex 32" in str(refused.value)
    assert "PENSTOCK_ENVIRONMENT=development" in str(refused.value)
    assert secret not in str(refused.value)
    monkeypatch.setenv("PENSTOCK_ENVIRONMENT", "development")
    ApiSettings()


def test_settings_show_no_secret(environment):
    shown = repr(ApiSettings()) + str(StoreSettings()) + repr(ApiSettings().jwt_secret)
    assert "swordfish" not in shown
    assert environment["PENSTOCK_JWT_SECRET"] not in shown


def test_an_error_about_settings_shows_none_either(environment, monkeypatch):
    monkeypatch.setenv("PENSTOCK_LOG_LEVEL", "swordfish")
    monkeypatch.setenv("PENSTOCK_JWT_SECRET", "swordfish")
    with pytest.raises(ValidationError) as refused:
        ApiSettings()
    assert "swordfish" not in str(refused.value) + repr(refused.value)
