"""Where Penstock is, and what opens it, as every command that asks it is told."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.failing import FAILED, fail

if TYPE_CHECKING:
    from penstock.importing import Where

Url = Annotated[str, typer.Option(envvar="PENSTOCK_URL", help="Where Penstock is.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="PENSTOCK_TOKEN",
        help="Access token; else the one in the file PENSTOCK_TOKEN_FILE, or in PENSTOCK_HOME.",
        show_default=False,
    ),
]
LOCAL = "http://127.0.0.1:8000"


def where(url: str, token: str | None) -> "Where":
    """What to ask; without a token, with the one in a file. Where there is none, the command ends."""
    from penstock.importing import Where

    return Where(url, token or _token_on_file())


def _token_on_file() -> str:
    from penstock.home import home_from_environment
    from shared.client import ClientError
    from shared.client.default_log import token_from_environment

    if os.environ.get("PENSTOCK_TOKEN_FILE"):
        try:
            return token_from_environment()
        except ClientError as error:
            fail(str(error), FAILED)
    file = home_from_environment().token_file
    if not file.exists():
        fail(
            f"no token: give --token or PENSTOCK_TOKEN, or run `penstock up`, which writes one to {file}",
            FAILED,
        )
    return file.read_text().strip()
