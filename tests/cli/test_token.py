"""`penstock token`: tokens that the services take, until they are revoked."""

import re
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
    assert (claims["iss"], claims["tenant"]) == ("penstock", "mill")
    assert claims["scope"] == "imports:read imports:write"
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


@pytest.mark.parametrize("named", ["psk_{prefix}", "{prefix}", "{key}"])
def test_a_revoked_api_key_opens_nothing_and_others_still_do(running: Up, named: str) -> None:
    home = str(running.home)
    arguments = ("token", "create", "--tenant", "mill", "--scope", "imports:read", "--api-key")
    key, other = (penstock(*arguments, PENSTOCK_HOME=home).stdout.strip() for _ in range(2))
    prefix = key.split("_")[1]

    done = penstock("token", "revoke", named.format(prefix=prefix, key=key), PENSTOCK_HOME=home)

    assert (done.returncode, done.stdout) == (0, f"psk_{prefix} of tenant mill is revoked.\n"), done.stderr
    assert (status(running, key), status(running, other)) == (401, 200)


def test_revoking_twice_keeps_the_first_time_and_the_list_shows_it(running: Up) -> None:
    home = str(running.home)
    created = penstock(
        "token", "create", "--tenant", "list-mill", "--scope", "records:read", "--scope", "imports:read",
        "--days", "3", "--api-key", "--name", "night import", PENSTOCK_HOME=home,
    )  # fmt: skip
    name = created.stdout[:16]

    def listed() -> str:
        lines = penstock("token", "list", PENSTOCK_HOME=home).stdout.splitlines()
        columns = ["KEY", "TENANT", "NAME", "CREATED", "EXPIRES", "LAST", "USE", "REVOKED", "SCOPES"]
        assert lines[0].split() == columns
        [found] = [line for line in lines if line.startswith(name)]
        return found

    begin = rf"{name}  list-mill +night import +(\S+ \S+Z)  (\S+ \S+Z)"
    assert re.fullmatch(rf"{begin}  - +- +imports:read records:read", listed())
    assert status(running, created.stdout.strip()) == 200
    assert re.fullmatch(rf"{begin}  (\S+ \S+Z)  - +imports:read records:read", listed())
    assert penstock("token", "revoke", name, PENSTOCK_HOME=home).returncode == 0
    once = listed()
    assert re.search(r"(\S+ \S+Z  ){4}imports:read", once)
    assert penstock("token", "revoke", name, PENSTOCK_HOME=home).returncode == 0
    assert listed() == once
    assert created.stdout.strip() not in penstock("token", "list", PENSTOCK_HOME=home).stdout


def test_a_key_that_is_not_there_cannot_be_revoked_and_is_not_shown(running: Up) -> None:
    done = penstock("token", "revoke", "psk_0123456789ab_the-secret", PENSTOCK_HOME=str(running.home))

    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no API key that begins with 'psk_0123456789ab'" in done.stderr
    assert "the-secret" not in done.stderr


@pytest.mark.parametrize("arguments", [("list",), ("revoke", "psk_0123456789ab")])
def test_no_database_to_look_in(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = penstock("token", *arguments, PENSTOCK_HOME=str(tmp_path / "nowhere"))

    assert (done.returncode, done.stdout) == (2, "")
    assert "has no database; run `penstock up` once" in done.stderr


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tenant", ""), "a tenant's name has 1 to 200 printable characters"),
        (("--tenant", "a\x1b[2J"), "a tenant's name has 1 to 200 printable characters"),
        (("--tenant", "t", "--name", "a key"), "--name is for an API key"),
    ],
)
def test_a_token_that_cannot_be(arguments: tuple[str, ...], said: str) -> None:
    done = penstock("token", "create", "--scope", "admin", *arguments, PENSTOCK_JWT_SECRET=SECRET)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_an_api_key_s_name_is_printable(running: Up) -> None:
    done = penstock(
        "token", "create", "--tenant", "t", "--scope", "admin", "--api-key", "--name", "a\nb",
        PENSTOCK_HOME=str(running.home),
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert "an API key's name has 1 to 100 printable characters" in done.stderr


def test_an_unknown_scope_is_refused_with_those_there_are() -> None:
    done = penstock("token", "create", "--tenant", "t", "--scope", "everything", PENSTOCK_JWT_SECRET=SECRET)

    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown scope everything" in done.stderr
    assert "imports:write" in done.stderr
