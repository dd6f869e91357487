"""Programs that a machine lacks, from its own packages: Debian's and Ubuntu's apt, as root."""

import fcntl
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.local.account import Account, clean_environment, open_root_folder

APT_SECONDS = 600.0

log = logging.getLogger(__name__)


def install(package: str) -> bool:
    """Install `package` without starting any service; False if not root, without apt, or failed, which is logged."""
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        return False
    environment = clean_environment(DEBIAN_FRONTEND="noninteractive")
    with _alone(), _no_service_starts():
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            try:
                done = Account().run(apt, *arguments, env=environment, timeout=APT_SECONDS)
            except (OSError, subprocess.TimeoutExpired) as error:
                log.warning("apt-get %s: %s", arguments[0], error)
                return False
            if done.returncode != 0:
                log.warning("apt-get %s failed: %s", arguments[0], done.stderr[-500:])
                return False
    return True


@contextmanager
def _alone() -> Iterator[None]:
    """One at a time of this program's processes: apt itself does not wait for another one that updates its lists."""
    with (open_root_folder() / "apt.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Forbid packages to start services (Debian's policy-rc.d interface), and only as long as this process lives."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text(f"#!/bin/sh\nkill -0 {os.getpid()} 2>/dev/null && exit 101\nexit 0\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
