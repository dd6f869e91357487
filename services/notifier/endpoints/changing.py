"""What becomes of a webhook endpoint when its owner makes it, changes it, or replaces its secret."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.delivery.signing import Signature, new_private_key, new_secret, signature_of
from services.notifier.endpoints import repository
from services.notifier.endpoints.headers import merged
from services.notifier.endpoints.repository import AnyRow
from services.notifier.endpoints.resources import NewWebhook, Rotation, WebhookPatch, checked_datasets
from services.notifier.messages.event_types import checked_event_types
from shared.contracts.problems import Conflict, NotFound

MAX_ENDPOINTS = 50  # for each tenant
MAX_RETIRED = 5  # secrets, and as many key pairs: signatures with all of them are a header of 0.7 kB

_KEY_COLUMNS: Mapping[Signature, str] = MappingProxyType({"hmac": "secret", "ed25519": "private_key"})


async def create(connection: AsyncConnection, tenant: str, new: NewWebhook) -> tuple[UUID, str]:
    """Make an endpoint: its id and its secret.

    Raises:
        Conflict: `webhook_limit`.
        Unprocessable: `event_type_unknown`, `dataset_unknown` or `webhook_header_invalid`.
    """
    values = new.model_dump(exclude={"signature"}) | {
        "event_types": checked_event_types(new.event_types),
        "datasets": new.datasets and checked_datasets(new.datasets),
        "headers": merged({}, new.headers),
        "secret": new.secret or new_secret(),
        "private_key": _key_pair_for(new.signature),
    }
    await repository.lock_endpoints(connection, tenant)
    if await repository.count_endpoints(connection, tenant) >= MAX_ENDPOINTS:
        raise Conflict(
            "webhook_limit",
            f"there are {MAX_ENDPOINTS} webhook endpoints, which is all that a tenant may have",
            hint="delete one that is not needed any more",
        )
    return await repository.add_endpoint(connection, tenant, values), values["secret"]


async def change(
    connection: AsyncConnection, tenant: str, webhook_id: UUID, patch: WebhookPatch
) -> AnyRow | None:
    """Change an endpoint: as it is then.

    One that is enabled or gets another URL is taken for healthy: what was known of it is no longer true.

    Raises:
        NotFound: `webhook_not_found`.
        Unprocessable: `event_type_unknown`, `dataset_unknown` or `webhook_header_invalid`.
    """
    present = await _locked(connection, tenant, webhook_id)
    changes = _changes(present, patch)
    if changes:
        await repository.change_endpoint(connection, tenant, webhook_id, changes)
    if changes.get("enabled") or "url" in changes:
        await repository.forget_health(connection, webhook_id)
    if "private_key" in changes and changes["private_key"] is None:
        await repository.forget_retired_pairs(connection, webhook_id)
    return await repository.endpoint(connection, tenant, webhook_id)


async def rotate(
    connection: AsyncConnection, tenant: str, webhook_id: UUID, rotation: Rotation
) -> datetime | None:
    """Replace the secret or the key pair: until when attempts are signed with the old one, too; None: no longer.

    Raises:
        NotFound: `webhook_not_found`.
        Conflict: `webhook_secret_limit`, `webhook_secret_in_use` or `webhook_without_key_pair`.
    """
    present = await _locked(connection, tenant, webhook_id)
    column = _KEY_COLUMNS[rotation.signature]
    old: str | None = getattr(present, column)
    if old is None:
        raise Conflict(
            "webhook_without_key_pair",
            "attempts to this endpoint are not signed with ed25519",
            hint='PATCH it with {"signature": "ed25519"} first',
        )
    new = rotation.secret or (new_secret() if rotation.signature == "hmac" else new_private_key())
    if new == old:
        raise Conflict(
            "webhook_secret_in_use", "the endpoint has this secret already", hint="send another one"
        )
    await repository.forget_retired(connection, webhook_id, new)
    if rotation.overlap_hours:
        await _check_room(connection, webhook_id, rotation.signature)
    await repository.change_endpoint(connection, tenant, webhook_id, {column: new})
    if not rotation.overlap_hours:
        return None
    return await repository.retire(
        connection, tenant, webhook_id, old, timedelta(hours=rotation.overlap_hours)
    )


def not_found(webhook_id: UUID) -> NotFound:
    """The problem that the tenant has no such endpoint."""
    return NotFound("webhook_not_found", f"there is no webhook endpoint {webhook_id}")


async def _locked(connection: AsyncConnection, tenant: str, webhook_id: UUID) -> AnyRow:
    row = await repository.endpoint_to_change(connection, tenant, webhook_id)
    if row is None:
        raise not_found(webhook_id)
    return row


def _changes(present: AnyRow, patch: WebhookPatch) -> dict[str, Any]:
    """The columns that `patch` changes."""
    values = patch.model_dump(exclude_unset=True, exclude={"signature", "enabled"})
    if "event_types" in values:
        values["event_types"] = checked_event_types(patch.event_types)
    if patch.datasets is not None:
        values["datasets"] = checked_datasets(patch.datasets)
    if "headers" in values:
        values["headers"] = {} if patch.headers is None else merged(present.headers, patch.headers)
    if "signature" in patch.model_fields_set and (patch.signature == "ed25519") != bool(present.private_key):
        values["private_key"] = _key_pair_for(patch.signature)
    changed = {name: value for name, value in values.items() if value != getattr(present, name)}
    return changed | _switched(present, patch)


def _switched(present: AnyRow, patch: WebhookPatch) -> dict[str, Any]:
    """An endpoint that was disabled for another reason is not paused beside."""
    if "enabled" not in patch.model_fields_set or patch.enabled == present.enabled:
        return {}
    if patch.enabled:
        return {"enabled": True, "disabled_reason": None, "disabled_at": None}
    return {"enabled": False, "disabled_reason": "paused", "disabled_at": func.now()}


def _key_pair_for(signature: Signature) -> str | None:
    return new_private_key() if signature == "ed25519" else None


async def _check_room(connection: AsyncConnection, webhook_id: UUID, signature: Signature) -> None:
    retired = [
        one
        for one in await repository.retired_keys(connection, webhook_id)
        if signature_of(one.secret) == signature
    ]
    if len(retired) >= MAX_RETIRED:
        raise Conflict(
            "webhook_secret_limit",
            f"attempts are still signed with {MAX_RETIRED} replaced secrets of this kind,"
            f" the first of which expires at {retired[-1].expires_at.isoformat()}",
            hint="wait until then, or rotate with `overlap_hours` 0, which ends the present one at once",
        )
