"""Who calls, and what a token may say of that."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeGuard

from shared.contracts.scopes import SCOPES, Scope

MAX_TENANT_LENGTH = 200  # characters
MAX_SUBJECT_LENGTH = 255  # characters: OpenID Connect Core 1.0, section 2


@dataclass(frozen=True)
class Principal:
    """The caller: whose data they see (`tenant`), what they may do, and until when; None: without end."""

    subject: str
    tenant: str
    scopes: frozenset[str]
    expires_at: datetime | None = field(default=None, compare=False)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """`names` as scopes.

    Raises:
        ValueError: one is unknown; the message lists those there are.
    """
    wanted = frozenset(names)
    if unknown := wanted - SCOPES:
        raise ValueError(
            f"unknown scope {', '.join(sorted(unknown))}; there are: {', '.join(sorted(SCOPES))}"
        )
    return known_scopes(wanted)


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes among `names`; other words mean something to somebody else."""
    named = frozenset(names)
    return frozenset(scope for scope in SCOPES if scope in named)


def checked_tenant(value: object) -> str:
    """`value`, if it can name a tenant.

    Raises:
        ValueError: it is no string of 1 to 200 printable characters.
    """
    if not is_printable(value, MAX_TENANT_LENGTH):
        raise ValueError(f"a tenant's name has 1 to {MAX_TENANT_LENGTH} printable characters")
    return value


def is_printable(value: object, longest: int) -> TypeGuard[str]:
    """Whether `value` is a string that can be stored, shown and logged: no U+0000, lone surrogate or control character."""
    return isinstance(value, str) and 1 <= len(value) <= longest and value.isprintable()
