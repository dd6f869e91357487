"""Which browser is taken, and what is said where there is none."""

from pathlib import Path

import pytest

from bench import browser

find = browser.find.__wrapped__  # as if asked for the first time


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on it: programs are what a test puts into the folder."""
    monkeypatch.delenv(browser.SETTING, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_one_that_is_named_counts_before_those_of_the_machine(machine, monkeypatch):
    program(machine / "chromium", "echo Chromium 1")
    monkeypatch.setenv(browser.SETTING, program(machine / "mine", "echo Mine 2"))

    assert find() == (str(machine / "mine"), "Mine 2")


def test_one_that_is_named_and_does_not_run_is_not_replaced_by_another(machine, monkeypatch):
    program(machine / "chromium", "echo Chromium 1")
    monkeypatch.setenv(browser.SETTING, str(machine / "missing"))

    assert find() == (None, f"{browser.SETTING}={machine / 'missing'} does not run")


def test_a_stand_in_that_only_says_what_to_install_is_passed_over(machine):
    program(machine / "chromium-browser", "echo install the snap; exit 1")
    chrome = program(machine / "google-chrome", "echo Google Chrome 3")

    assert find() == (chrome, "Google Chrome 3")


def test_none_is_installed_unasked(machine, monkeypatch):
    def installed(_):
        return bool(program(machine / "chromium", "echo Chromium 4"))

    monkeypatch.setattr(browser.apt, "install", installed)

    assert find()[0] is None
    assert find(install=True) == (str(machine / "chromium"), "Chromium 4")


def test_without_any_the_reason_names_what_was_looked_for(machine):
    found, why = find()

    assert found is None
    assert "PENSTOCK_TEST_CHROMIUM; no chromium, chromium-browser, google-chrome" in why
