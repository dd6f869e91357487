"""PENSTOCK_HOME: the folder of everything that is kept without a server of one's own."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

JWT_SECRET_BYTES = 48


class HomeBusy(RuntimeError):
    """Another `penstock up` uses this home. Nothing was changed."""


@dataclass(frozen=True)
class Home:
    """The folder and what is where in it."""

    path: Path

    @property
    def token_file(self) -> Path:
        """The administrator's access token."""
        return self.path / "token"

    @property
    def jwt_secret_file(self) -> Path:
        return self.path / "jwt_secret"

    @property
    def receipt_key_file(self) -> Path:
        return self.path / "receipt_key"

    @property
    def store(self) -> Path:
        """Uploaded files, unless PENSTOCK_STORE_URL says otherwise."""
        return self.path / "store"

    @property
    def database(self) -> Path | None:
        """The embedded PostgreSQL's data, if there are any: below the home, or where their owner can reach them."""
        entry = self.path / "postgres"
        return entry.resolve() if entry.exists() else None

    def make(self) -> None:
        """Create the folder if it is not there, closed to others."""
        # PostgreSQL, which root runs as another user, must be able to pass through, but not to list.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        if not self.path.exists():
            self.path.mkdir(parents=True)
            self.path.chmod(mode)
        if not self.store.exists():
            self.store.mkdir(mode=0o700)

    def jwt_secret(self) -> str:
        """The secret that signs tokens here, made at the first call."""
        if not self.jwt_secret_file.exists():
            write_private(self.jwt_secret_file, secrets.token_urlsafe(JWT_SECRET_BYTES))
        return self.jwt_secret_file.read_text().strip()

    def receipt_key(self) -> str:
        """The private key that signs receipts here, made at the first call."""
        if not self.receipt_key_file.exists():
            write_private(self.receipt_key_file, new_receipt_key())
        return self.receipt_key_file.read_text().strip()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only `penstock up` of this home.

        Raises:
            HomeBusy: there is one already.
        """
        with (self.path / "up.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "unknown"
                raise HomeBusy(f"another `penstock up` (process {holder}) uses {self.path}") from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def is_held(self) -> bool:
        """Whether a `penstock up` uses this home at present."""
        try:
            with (self.path / "up.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def home_from_environment() -> Home:
    """PENSTOCK_HOME, or `.penstock` in the current folder."""
    return Home(Path(os.environ.get("PENSTOCK_HOME") or ".penstock").absolute())


def new_receipt_key() -> str:
    """A private key for PENSTOCK_RECEIPT_KEY: Ed25519 as PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` makes one."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; a reader never sees half of it."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    part.replace(path)
