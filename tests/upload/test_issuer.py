"""A service that takes the tokens of an issuer: its keys are fetched, and while they cannot be, that is said."""

import pytest

from tests.platform.issuer import ISSUER, published, signed
from tests.upload.conftest import running


@pytest.fixture
async def with_issuer(environment, database, monkeypatch):
    with published() as issuer:
        monkeypatch.setenv("PENSTOCK_JWT_JWKS_URL", issuer.url)
        monkeypatch.setenv("PENSTOCK_JWT_ISSUER", ISSUER)
        monkeypatch.delenv("PENSTOCK_JWT_SECRET")
        async with running(environment, database) as upload:
            yield upload, issuer


def bearer(**changes):
    return {"Authorization": f"Bearer {signed(**changes)}"}


async def test_whom_the_issuer_vouches_for_may_upload(with_issuer):
    upload, issuer = with_issuer
    assert (await upload.form(headers=bearer(sub="anna"))).status_code == 202
    [row] = await upload.rows()
    assert (row["tenant"], row["uploaded_by"]) == ("acme", "anna")
    assert (await upload.form(headers=bearer(scope="imports:read"))).status_code == 403
    assert (await upload.form(headers=bearer(iss="https://evil.example"))).status_code == 401
    assert issuer.asked == ["/keys"]


async def test_while_its_keys_cannot_be_had_a_token_is_not_called_wrong(with_issuer):
    upload, issuer = with_issuer
    issuer.answer = (500, {}, b"")
    away = await upload.form(headers=bearer())
    assert (away.status_code, away.json()["code"]) == (503, "keys_unavailable")
    assert away.headers["retry-after"] == "5"
    assert away.headers["content-type"] == "application/problem+json"
    assert issuer.url not in away.text
    assert await upload.left_nothing()
