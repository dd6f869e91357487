"""What a tenant's limits look like from the command line: a file sent twice, files sent too often, limits of one's own."""

from pathlib import Path

import pytest

from tests.cli.given import Up, penstock, products


@pytest.fixture(scope="module")
def strict(homes: Path) -> Up:
    """A `penstock up` with the default limits, without samples."""
    (homes / "strict").mkdir()
    up = Up(homes / "strict" / "home", "--no-samples", PENSTOCK_UPLOADS_PER_MINUTE="10")
    yield up.wait_until_ready()
    assert up.stop() == 0, up.output


def send(up: Up, file: Path, *arguments: str):
    return penstock(
        "import", file, "--dataset", "products", "--url", up.url, *arguments, PENSTOCK_HOME=str(up.home)
    )


def test_a_file_that_came_before_is_refused_with_its_import_unless_forced(strict: Up, tmp_path: Path) -> None:
    file = products(tmp_path / "gates.csv", 3)
    assert send(strict, file).returncode == 0

    again = send(strict, file)
    forced = send(strict, file, "--force")

    assert again.returncode == 1
    assert "(file_already_imported)" in again.stderr
    assert "force=true" in again.stderr
    assert forced.returncode == 0, forced.stderr


def test_limits_of_a_tenant_are_set_listed_and_taken_back(strict: Up, tmp_path: Path) -> None:
    home = {"PENSTOCK_HOME": str(strict.home)}
    done = penstock("limits", "set", "demo", "--uploads-per-minute", "50", "--max-bytes", "60", **home)
    assert (done.returncode, done.stdout) == (0, "Tenant demo has these limits from its next upload on.\n")
    listed = penstock("limits", "list", **home).stdout.splitlines()
    assert listed[1].split() == ["demo", "50", "-", "60"]

    refused = send(strict, products(tmp_path / "large.csv", 100))
    assert "larger than 60 bytes" in refused.stderr

    penstock("limits", "set", "demo", **home)
    assert len(penstock("limits", "list", **home).stdout.splitlines()) == 1
    assert penstock("limits", "set", "demo", "--max-bytes", "0", **home).returncode == 2
