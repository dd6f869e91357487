"""The machine's own Chromium, for measuring and testing the console: never one that Playwright downloads."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache

from penstock.local import apt
from penstock.local.account import clean_environment

SETTING = "PENSTOCK_TEST_CHROMIUM"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PACKAGE = "chromium"
ANSWER_SECONDS = 60.0  # for --version, on a machine that reads the program from its disk for the first time
FLAGS = (
    "--no-sandbox",  # which root and most containers do not have; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@cache
def find(*, install: bool = False) -> tuple[str | None, str]:
    """The program and its version, or None and why there is none. `install`: as root on Debian, get it if need be."""
    if named := os.environ.get(SETTING):
        version = _version(named)
        return (named, version) if version else (None, f"{SETTING}={named} does not run")
    found = _first(PROGRAMS)
    if found is None and install and apt.install(PACKAGE):
        found = _first(PROGRAMS)
    if found is None:
        tried = ", and none could be installed" if install else ""
        return None, f"no {SETTING}; no {', '.join(PROGRAMS)} that runs here{tried}"
    return found


def _first(names: Iterable[str]) -> tuple[str, str] | None:
    programs = filter(None, map(shutil.which, names))
    return next(((program, version) for program in programs if (version := _version(program))), None)


def _version(program: str) -> str | None:
    """What it says of itself; None for what is there but does not run, as Ubuntu's stand-in for a snap."""
    try:
        done = subprocess.run(  # noqa: S603 - the tester's own browser
            [program, "--version"],
            env=clean_environment(HOME=os.environ.get("HOME", "/")),
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
