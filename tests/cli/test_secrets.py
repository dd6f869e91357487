"""Secrets come from the environment or from files, and no output shows one."""

import os
import secrets
from pathlib import Path

import pytest

from penstock.home import new_receipt_key
from penstock.local.processes import free_port
from penstock.registry import NAMES
from penstock.secret_files import SecretsUnreadable, read_secret_files
from tests.cli.given import penstock

MARK = "Swordfish"
AWAY = {
    "PENSTOCK_DATABASE_URL": f"postgresql://penstock:{MARK}@127.0.0.1:1/penstock",
    "PENSTOCK_BUS_URL": f"amqp://penstock:{MARK}@127.0.0.1:1/",
    "PENSTOCK_STORE_URL": "s3://files",
    "PENSTOCK_JWT_SECRET": MARK + secrets.token_hex(32),
    "PENSTOCK_RECEIPT_KEY": new_receipt_key(),
    "AWS_ACCESS_KEY_ID": MARK,
    "AWS_SECRET_ACCESS_KEY": MARK,
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ALLOW_HTTP": "true",
}
WRONG = {
    "away": {},
    "away, with tracebacks": {"PENSTOCK_LOG_LEVEL": "debug"},
    "weak": {"PENSTOCK_JWT_SECRET": f"{MARK}-change-me-{MARK}-change-me"},
    "short": {"PENSTOCK_JWT_SECRET": MARK},
    "no key": {"PENSTOCK_RECEIPT_KEY": MARK, "PENSTOCK_RECEIPT_PUBLIC_KEYS": MARK},
    "mixed up": {
        "PENSTOCK_DATABASE_URL": f"amqp://penstock:{MARK}@127.0.0.1:1/",
        "PENSTOCK_BUS_URL": f"postgresql://penstock:{MARK}@127.0.0.1:1/",
        "PENSTOCK_STORE_URL": MARK,
        "PENSTOCK_LOG_LEVEL": MARK,
        "PENSTOCK_STOP_SECONDS": MARK,
    },
    "not encoded: @": {
        "PENSTOCK_DATABASE_URL": f"postgresql://penstock:{MARK}@{MARK}@127.0.0.1:1/penstock",
        "PENSTOCK_BUS_URL": f"amqp://penstock:{MARK}@{MARK}@127.0.0.1:1/",
    },
    "not encoded: /": {
        "PENSTOCK_DATABASE_URL": f"postgresql://penstock:{MARK}/{MARK}@127.0.0.1:1/penstock",
        "PENSTOCK_BUS_URL": f"amqp://penstock:{MARK}/{MARK}@127.0.0.1:1/",
    },
    "not encoded: [": {"PENSTOCK_BUS_URL": f"amqp://penstock:{MARK}[{MARK}@127.0.0.1:1/"},
}


@pytest.mark.parametrize(
    ("service", "wrong"),
    [
        (name, wrong)
        for name in NAMES
        for wrong in WRONG
        if name == ("results" if wrong == "no key" else "upload") or wrong.startswith("away")
    ],
)
def test_a_start_that_fails_shows_none(service: str, wrong: str) -> None:
    done = penstock("serve", service, "--port", str(free_port()), **(AWAY | WRONG[wrong]))

    said = done.stdout + done.stderr
    assert done.returncode in {2, 3}, said
    assert MARK.lower() not in said.lower()
    if done.returncode == 2:
        assert "Traceback" not in said


@pytest.mark.parametrize("url", [AWAY["PENSTOCK_DATABASE_URL"], *(
    values["PENSTOCK_DATABASE_URL"] for values in WRONG.values() if "PENSTOCK_DATABASE_URL" in values
)])  # fmt: skip
@pytest.mark.parametrize("command", [("migrate",), ("token", "list")], ids=" ".join)
def test_a_command_that_fails_shows_none(command: tuple[str, ...], url: str) -> None:
    done = penstock(*command, PENSTOCK_DATABASE_URL=url)

    assert done.returncode in {1, 2}
    assert MARK.lower() not in (done.stdout + done.stderr).lower()


def test_a_placeholder_is_one_line_that_says_what_to_do() -> None:
    done = penstock("serve", "results", **(AWAY | {"PENSTOCK_JWT_SECRET": "change-me" * 4}))

    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("PENSTOCK_JWT_SECRET is a placeholder: ")
    assert "openssl rand -hex 32" in line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets that is in use; what it puts into the environment goes again."""
    made = tmp_path / "secrets"
    made.mkdir()
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("PENSTOCK_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PENSTOCK_SECRETS_DIR", str(made))
    for name in ("PENSTOCK_JWT_SECRET", "PENSTOCK_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "PATHOLOGY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return made


def test_files_count_as_variables_whatever_their_case(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "penstock_jwt_secret").write_text("from a file\n")
    (folder / "AWS_SECRET_ACCESS_KEY").write_text("of the store")
    (folder / "PENSTOCK_DATABASE_URL").write_text("postgresql://from-a-file")
    (folder / "pathology").write_text("none of ours")
    (folder / "..data").mkdir()  # as Kubernetes mounts them
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", "postgresql://from-the-environment")
    read_secret_files()
    assert os.environ["PENSTOCK_JWT_SECRET"] == "from a file"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "of the store"
    assert os.environ["PENSTOCK_DATABASE_URL"] == "postgresql://from-the-environment"
    assert "PATHOLOGY" not in os.environ


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\xfa" + MARK.encode(), b"\0" + MARK.encode(), MARK.encode() * 9000]
)
def test_a_file_that_is_no_secret_is_named_and_not_shown(folder: Path, content: bytes) -> None:
    (folder / "penstock_jwt_secret").write_bytes(content)
    with pytest.raises(SecretsUnreadable, match="penstock_jwt_secret") as refused:
        read_secret_files()
    assert MARK not in str(refused.value)


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = penstock("serve", "results", PENSTOCK_SECRETS_DIR=str(tmp_path / "nowhere"))

    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("PENSTOCK_SECRETS_DIR is wrong: ")
    assert str(tmp_path / "nowhere") in line


def test_every_command_reads_them(folder: Path, database_url: str) -> None:
    """The bus is away, and the service gets as far as that: all that it needs before came from files."""
    for name, value in (AWAY | {"PENSTOCK_DATABASE_URL": database_url}).items():
        if not name.endswith(("_STORE_URL", "_ALLOW_HTTP")):
            (folder / name.lower()).write_text(f"{value}\n")
    given = {"PENSTOCK_SECRETS_DIR": str(folder)}

    migrated = penstock("migrate", **given)
    token = penstock("token", "create", "--tenant", "acme", "--scope", "admin", **given)
    served = penstock("serve", "notifier", "--port", str(free_port()), **given)

    assert migrated.returncode == token.returncode == 0, migrated.stderr + token.stderr
    assert "RabbitMQ at 127.0.0.1:1 cannot be used" in served.stderr
    assert MARK not in served.stderr
