"""Secrets from files: what stands in the folder PENSTOCK_SECRETS_DIR counts as environment variables.

The form in which Docker and Kubernetes mount secrets: a file for each, named like the variable in any case.
"""

import os
from pathlib import Path

TAKEN = ("PENSTOCK_", "AWS_", "AZURE_", "GOOGLE_")  # settings, and what object stores read by themselves
MAX_BYTES = 64 * 1024


class SecretsUnreadable(ValueError):
    """The folder, or a file in it, cannot be read; the message says which and why. Nothing was started."""


def read_secret_files() -> None:
    """Put them into the environment; a variable that is set already goes before its file. An empty file counts as none.

    Raises:
        SecretsUnreadable: PENSTOCK_SECRETS_DIR names no folder that can be read, or a file in it is no text.
    """
    if not (named := os.environ.get("PENSTOCK_SECRETS_DIR")):
        return
    try:
        # Kubernetes keeps the files of a volume in hidden folders, behind links.
        files = sorted(path for path in Path(named).iterdir() if path.is_file())
        for file in files:
            variable = file.name.upper()
            if variable.startswith(TAKEN) and not os.environ.get(variable) and (value := _content(file)):
                os.environ[variable] = value
    except OSError as error:
        raise SecretsUnreadable(
            f"PENSTOCK_SECRETS_DIR is wrong: {error.filename} cannot be read: {error.strerror}"
        ) from error


def _content(file: Path) -> str:
    """The text of `file` without the line ends that editors and `echo` put behind it."""
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES or b"\0" in content:
        raise SecretsUnreadable(
            f"PENSTOCK_SECRETS_DIR is wrong: {file} is no secret, but too large or no text"
        )
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise SecretsUnreadable(f"PENSTOCK_SECRETS_DIR is wrong: {file} is not UTF-8 text") from None
