"""How much a tenant may send: how large, how often, how many at once. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=1)
QUOTA_HEADERS = {
    "RateLimit-Limit": "Uploads that the tenant may begin within a minute.",
    "RateLimit-Remaining": "Those of them that are left.",
    "RateLimit-Reset": "Seconds until there is one more.",
    "RateLimit-Policy": "`<limit>;w=60`.",
}


@dataclass(frozen=True)
class Sizes:
    """How large a tenant's files may be, in bytes, unpacked: by dataset, else `default`."""

    default: int
    by_dataset: Mapping[str, int]

    def limit(self, dataset: str | None) -> int:
        """The limit for files of `dataset`; for one that is not known yet the largest there is."""
        if dataset is None:
            return max([self.default, *self.by_dataset.values()])
        return self.by_dataset.get(dataset, self.default)


@dataclass(frozen=True)
class Limits:
    """The limits of one tenant.

    Attributes:
        uploads_per_minute: Uploads that may begin within any 60 s; refused ones do not count.
        imports_at_once: Imports that have not ended.
    """

    uploads_per_minute: int
    imports_at_once: int
    sizes: Sizes

    def with_own(
        self, *, uploads_per_minute: int | None, imports_at_once: int | None, max_bytes: int | None
    ) -> "Limits":
        """These, where the tenant has none of its own. Its own size counts for every dataset."""
        return Limits(
            uploads_per_minute or self.uploads_per_minute,
            imports_at_once or self.imports_at_once,
            Sizes(max_bytes, {}) if max_bytes else self.sizes,
        )


@dataclass(frozen=True)
class Quota:
    """Where a tenant stands within `WINDOW`.

    Attributes:
        limit: Uploads that may begin within the window.
        remaining: Those that may still begin.
        reset: Seconds until the window has room for one more than now.
    """

    limit: int
    remaining: int
    reset: int

    def with_one_back(self) -> "Quota":
        """Where it stands when the last upload came to nothing."""
        return replace(self, remaining=min(self.remaining + 1, self.limit))

    def headers(self) -> dict[str, str]:
        """Response headers (draft-ietf-httpapi-ratelimit-headers-07)."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
            "RateLimit-Policy": f"{self.limit};w={int(WINDOW.total_seconds())}",
        }


def quota_of(limit: int, oldest: datetime | None, taken: int, now: datetime) -> Quota:
    """The quota when `taken` uploads began within the window, the first of them at `oldest`."""
    wait = max((oldest + WINDOW - now).total_seconds(), 0.0) if oldest else 0.0
    return Quota(limit, max(limit - taken, 0), math.ceil(wait))
