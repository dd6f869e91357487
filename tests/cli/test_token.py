"""`penstock token create`: tokens that the services take."""

from pathlib import Path

import httpx
import jwt
import pytest

from tests.cli.given import Up, penstock

SECRET = "a-secret-of-at-least-thirty-two-bytes"


def status(up: Up, token: str) -> int:
    return httpx.get(f"{up.url}/api/v1/imports", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_jwt_from_the_environment_s_secret() -> None:
    done = penstock(
        "token", "create", "--tenant", "mill", "--scope", "imports:read", "--scope", "imports:write", "--days", "2",
        PENSTOCK_JWT_SECRET=SECRET,
    )  # fmt: skip

    claims = jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"], audience="penstock")
    assert (claims["tenant"], claims["scope"]) == ("mill", "imports:read imports:write")
    assert claims["exp"] - claims["iat"] == 2 * 24 * 3600


def test_a_jwt_from_the_home_s_secret_opens_its_services(running: Up) -> None:
    arguments = ("token", "create", "--tenant", "mill", "--scope")

    reader = penstock(*arguments, "imports:read", PENSTOCK_HOME=str(running.home)).stdout.strip()
    other = penstock(*arguments, "webhooks:admin", PENSTOCK_HOME=str(running.home)).stdout.strip()

    assert (status(running, reader), status(running, other)) == (200, 403)


def test_an_api_key_is_kept_in_the_database(running: Up) -> None:
    done = penstock(
        "token", "create", "--tenant", "mill", "--scope", "imports:read", "--api-key",
        PENSTOCK_HOME=str(running.home),
    )  # fmt: skip

    key = done.stdout.strip()
    assert key.startswith("psk_"), done.stderr
    assert status(running, key) == 200


def test_an_api_key_of_a_home_at_rest(home: Path) -> None:
    Up(home, "--no-samples").wait_until_ready().stop()

    done = penstock(
        "token", "create", "--tenant", "mill", "--scope", "imports:read", "--api-key", PENSTOCK_HOME=str(home)
    )

    up = Up(home, "--no-samples").wait_until_ready()
    assert status(up, done.stdout.strip()) == 200
    up.stop()


@pytest.mark.parametrize("kind", [(), ("--api-key",)], ids=["JWT", "API key"])
def test_nothing_to_make_it_with(tmp_path: Path, kind: tuple[str, ...]) -> None:
    home = tmp_path / "nowhere"

    done = penstock("token", "create", "--tenant", "t", "--scope", "admin", *kind, PENSTOCK_HOME=str(home))

    assert (done.returncode, done.stdout) == (2, "")
    assert "is not set, and" in done.stderr
    assert not home.exists()


def test_an_unknown_scope_is_refused_with_those_there_are() -> None:
    done = penstock("token", "create", "--tenant", "t", "--scope", "everything", PENSTOCK_JWT_SECRET=SECRET)

    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown scope everything" in done.stderr
    assert "imports:write" in done.stderr
