"""The operating system's user that a local server runs as, and what that user can reach."""

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.local.processes import LocalServerError

SERVER_USER = "penstock"
ROOT_FOLDER = Path("/var/lib/penstock")  # for root only: data and programs that `SERVER_USER` can reach


@dataclass(frozen=True)
class Account:
    """The operating system's user that a server runs as; `uid` None is whoever runs this program."""

    name: str = ""
    uid: int | None = None
    gid: int | None = None

    @property
    def owner(self) -> int:
        """The user id that the server's files belong to."""
        return os.geteuid() if self.uid is None else self.uid

    def own(self, path: Path) -> None:
        """Give `path`, which this program just made, to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account reaches what is in `folder`; asked of the system, which knows more than modes."""
        return self.uid is None or self.run("/bin/sh", "-c", 'test -x "$1"', "sh", folder).returncode == 0

    def run(
        self, *command: str | Path, env: Mapping[str, str] | None = None, timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end as this account, away from the terminal.

        Raises OSError when the account cannot run the program, TimeoutExpired after `timeout` seconds.
        """
        return subprocess.run(  # noqa: S603 - the command is this package's own, never a user's
            command,
            cwd="/",  # the caller's folder may be closed to the account
            env=env or clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            start_new_session=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )

    def launch(self, *command: str | Path, log: Path, env: Mapping[str, str] | None = None) -> int:
        """Start a server that outlives this program, writes to `log` only and never sees a Ctrl-C.

        Returns its process id. The shell in between ends at once, so that init and not this program is the
        server's parent, and has nothing to wait for when the server ends.
        """
        with log.open("ab") as output:
            done = subprocess.run(  # noqa: S603 - the command is this package's own, never a user's
                ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
                cwd="/",
                env=env or clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                check=True,
                start_new_session=True,
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
            )
        return int(done.stdout)


def clean_environment(**extra: str) -> dict[str, str]:
    """An environment without the caller's PG*, RABBITMQ_*, ERL_* and secrets, which would leak into a server."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    path = f"{os.environ.get('PATH', '/usr/local/bin')}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**kept, "PATH": path, "LC_ALL": "C", **extra}


def server_account() -> Account:
    """Whoever runs this program, or the system user SERVER_USER (made if missing) if that is root."""
    if os.geteuid() != 0:
        return Account()
    found = _system_user()
    if found:
        return found
    said = _add_system_user()
    found = _system_user()
    if found:
        return found
    raise LocalServerError(
        f"PostgreSQL does not run as root, and the user `{SERVER_USER}` to run it could not be made: {said} "
        f"Run penstock as an ordinary user, or make that user first (`useradd --system {SERVER_USER}`)."
    )


def _system_user() -> Account | None:
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        return None
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def _add_system_user() -> str:
    options = ("--system", "--user-group", "--no-create-home", "--home-dir", "/", "--shell", "/bin/false")
    try:
        done = Account().run("useradd", *options, SERVER_USER)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}."
    return done.stderr.strip()


def open_root_folder() -> Path:
    """ROOT_FOLDER, made if missing. Only root may call this."""
    if not ROOT_FOLDER.exists():
        ROOT_FOLDER.mkdir(parents=True, exist_ok=True)
        ROOT_FOLDER.chmod(0o755)  # root's umask may be stricter
    return ROOT_FOLDER
