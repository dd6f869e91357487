"""Which service answers which path. Each prefix belongs to one service, so any gateway can route by prefix alone."""

from collections.abc import Mapping
from types import MappingProxyType

# Whatever a gateway in front of the four services must know; `/health` and `/docs` each process has for itself.
ROUTES: Mapping[str, str] = MappingProxyType(
    {
        "/api/v1/uploads": "upload",
        "/api/v1/tus": "upload",
        "/api/v1/api-keys": "upload",
        "/api/v1/imports": "results",
        "/api/v1/receipts": "results",
        "/api/v1/records": "results",
        "/api/v1/datasets": "results",
        "/api/v1/system": "results",
        "/api/v1/session": "results",
        "/api/v1/webhooks": "notifier",
        "/api/v1/investigation-events": "notifier",
        "/api/v1/investigations": "notifier",
        "/api/v1/investigation-reasons": "notifier",
        "/api/v1/pricelens": "notifier",
        "/api/v1/suppliers": "notifier",
        "/api/v1/analyses": "notifier",
        "/api/v1/jobs": "notifier",
    }
)


def service_for(path: str) -> str | None:
    """The service that owns `path`: whole segments count, so `/api/v1/imports-old` belongs to nobody."""
    for prefix, service in ROUTES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return service
    return None
