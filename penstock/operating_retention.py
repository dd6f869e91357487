"""`penstock retention`: what each service forgets by itself, at once."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from penstock.embedded import set_defaults
from penstock.home import home_from_environment, new_receipt_key
from penstock.registry import NAMES
from penstock.serving import check_settings
from shared.platform import logs
from shared.platform.database import engine_for
from shared.platform.settings import PlatformSettings


@dataclass(frozen=True)
class Applied:
    """A rule: what goes after how many days (None: never), and how much has gone, or would."""

    service: str
    what: str
    setting: str
    days: int | None
    removed: int

    def cells(self) -> tuple[str, ...]:
        kept = "for good" if self.days is None else f"{self.days} days"
        return (self.service, self.what, kept, f"{self.removed:,}")


def apply(database_url: str, *, dry_run: bool) -> list[Applied]:
    """Apply the rules of the services that are installed here; `dry_run`: only count.

    Raises:
        SettingsInvalid: the environment is not fit for one of them.
        StoreUnavailable: the store does not answer.
    """
    use_installation(database_url)
    return asyncio.run(_apply(list(_installed()), dry_run=dry_run))


def use_installation(database_url: str) -> None:
    """Have services' settings read what this installation has. No token is checked, and nothing is served."""
    home = home_from_environment()
    is_embedded = not os.environ.get("PENSTOCK_DATABASE_URL")  # another database's files are not in this home
    set_defaults({"PENSTOCK_DATABASE_URL": database_url, "PENSTOCK_JWT_SECRET": secrets.token_hex(32)})
    if is_embedded:
        set_defaults({"PENSTOCK_STORE_URL": home.store.as_uri(), "PENSTOCK_RECEIPT_KEY": home.receipt_key()})


def log_errors_only() -> None:
    """What a command has to say it says itself."""
    logs.configure(level=os.environ.get("PENSTOCK_LOG_LEVEL") or "error", style="console")


def _installed() -> Iterator[str]:
    """Each service's image has its own code alone."""
    for name in NAMES:
        try:
            import_module(f"services.{name}.app")
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith(f"services.{name}"):
                raise
        else:
            yield name


async def _apply(services: list[str], *, dry_run: bool) -> list[Applied]:
    # Receipts are neither signed nor touched here, so any key does.
    set_defaults({"PENSTOCK_RECEIPT_KEY": new_receipt_key()})
    check_settings(services)
    done = []
    for service in services:
        engine = engine_for(PlatformSettings().session_url, service, pool_size=1)
        try:
            for rule in import_module(f"services.{service}.app").retention_rules(engine):
                removed = await (rule.counted() if dry_run else rule.applied())
                done.append(Applied(service, rule.what, rule.setting, rule.days, removed))
        finally:
            await engine.dispose()
    return done
