"""The bundled files are what their generator writes."""

import subprocess
import sys
from pathlib import Path

from penstock.samples import FOLDER, bundled
from shared.contracts.datasets import datasets


def test_the_generator_gives_the_same_bytes(tmp_path: Path) -> None:
    generator = tmp_path / "make_samples.py"
    generator.write_bytes((FOLDER / "make_samples.py").read_bytes())

    subprocess.run([sys.executable, generator], check=True)

    for name in ("expected.json", *(sample.path.name for sample in bundled())):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_every_dataset_has_a_sample() -> None:
    assert {sample.dataset for sample in bundled()} == set(datasets())


def test_every_sample_is_expected_to_have_row_errors_and_to_complete() -> None:
    for sample in bundled():
        assert sample.expected["status"] == "completed"
        assert sample.expected["rows_rejected"] > 0


def test_an_installation_without_samples_has_none(tmp_path: Path) -> None:
    assert bundled(tmp_path) == ()
