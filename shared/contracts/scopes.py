"""What a token may do. `admin` may do everything within its tenant."""

from typing import Literal, get_args

Scope = Literal[
    "imports:write",
    "imports:read",
    "records:read",
    "records:write",
    "webhooks:admin",
    "investigations:write",
    "investigations:read",
    "investigations:admin",
    "admin",
]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
