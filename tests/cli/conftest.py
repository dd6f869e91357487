"""Homes that root's PostgreSQL user can reach, and one running Penstock for the tests that only talk to it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.given import Up, end_postgres


@pytest.fixture(scope="module")
def homes() -> Iterator[Path]:
    """A folder for homes; `tmp_path` is closed to the user that root runs PostgreSQL as."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-cli-"))
    folder.chmod(0o755)
    yield folder
    for home in folder.glob("*/home"):
        end_postgres(home)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(homes: Path) -> Path:
    """A home that is not there yet."""
    folder = Path(tempfile.mkdtemp(dir=homes))
    folder.chmod(0o755)
    return folder / "home"


@pytest.fixture(scope="module")
def running(homes: Path) -> Iterator[Up]:
    """A `penstock up` without samples."""
    (homes / "shared").mkdir()
    up = Up(homes / "shared" / "home", "--no-samples")
    yield up.wait_until_ready()
    assert up.stop() == 0, up.output
