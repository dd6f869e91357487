"""Routes of API keys: a tenant's administrators make, list and revoke them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.problems import Conflict, NotFound
from shared.contracts.scopes import Scope
from shared.platform import auth
from shared.platform.auth import Authenticator, Principal
from shared.platform.database import advisory_key
from shared.platform.edge import problem_responses
from shared.platform.paging import Cursor, Cursors, Limit, Moment, StorableText, page_of
from shared.platform.tenancy import tenant_reading, tenant_writing

MAX_LIVE_KEYS = 100  # for each tenant: neither revoked nor expired
MAX_DAYS = 3650

# When a key was made, and its prefix.
_CURSORS = Cursors[tuple[datetime, str]](tuple[Moment, StorableText])


def _checked_expiry(value: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now < value <= now + timedelta(days=MAX_DAYS):
        raise ValueError(f"must be in the future, and not more than {MAX_DAYS} days from now")
    return value


class NewApiKey(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, AfterValidator(auth.checked_name)] = Field(
        description="What the key is for; 1 to 100 printable characters.", examples=["night import"]
    )
    scopes: list[Scope] = Field(description="What it may do.", min_length=1, max_length=20)
    expires_in_days: int | None = Field(None, ge=1, le=MAX_DAYS, description="How long it is valid.")
    expires_at: Annotated[AwareDatetime, AfterValidator(_checked_expiry)] | None = Field(
        None,
        description="Until when it is valid, instead of `expires_in_days`. Without either it does not expire.",
    )

    @model_validator(mode="after")
    def _one_expiry(self) -> Self:
        if self.expires_in_days is not None and self.expires_at is not None:
            raise ValueError("`expires_in_days` and `expires_at` exclude each other; give one of them")
        return self

    def expiry(self) -> datetime | None:
        """When the key ends; None: it does not."""
        if self.expires_in_days is None:
            return self.expires_at
        return datetime.now(UTC) + timedelta(days=self.expires_in_days)


class ApiKey(BaseModel):
    """An API key, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="How the key begins.", examples=["psk_0123456789ab"])
    name: str | None
    scopes: list[Scope]
    created_by: str | None = Field(description="The subject of the token that asked for it.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute. None: never.")
    revoked_at: datetime | None


class CreatedApiKey(ApiKey):
    key: str = Field(description="To be sent as `Authorization: Bearer <key>`. Shown only here.")


class ApiKeyPage(BaseModel):
    items: list[ApiKey]
    next_cursor: str | None


KeyId = Annotated[str, Path(pattern="^psk_[0-9a-f]{12}$", description="How the key begins: its `id`.")]


def api_keys_router(engine: AsyncEngine, authenticator: Authenticator) -> APIRouter:
    """Create, list, get and revoke. Their scope is `admin`, so a key may be given any scope: its maker has them all."""
    routes = APIRouter(prefix="/api/v1/api-keys", tags=["api keys"])
    Caller = Annotated[Principal, Depends(authenticator.require("admin"))]  # noqa: N806 - a type

    @routes.post(
        "",
        status_code=201,
        operation_id="create_api_key",
        summary="Make an API key",
        responses=problem_responses(401, 403, 409, 422, 503),
    )
    async def create(caller: Caller, new: NewApiKey, response: Response) -> CreatedApiKey:
        """The answer holds the key itself, which is kept nowhere: it cannot be had again.

        409 `api_key_limit`: a tenant has at most 100 keys that are neither revoked nor expired.
        """
        async with tenant_writing(engine, caller.tenant) as connection:
            await _check_limit(connection, caller.tenant)
            key = await auth.create_api_key(
                connection,
                tenant=caller.tenant,
                scopes=set(new.scopes),
                expires_at=new.expiry(),
                name=new.name,
                created_by=caller.subject,
            )
            made = await _found(connection, caller.tenant, key)
        response.headers["Location"] = f"/api/v1/api-keys/{made.id}"
        return CreatedApiKey(**made.model_dump(), key=key)

    @routes.get(
        "",
        operation_id="list_api_keys",
        summary="All API keys, the newest first, with those that are revoked or expired",
        responses=problem_responses(401, 403, 422, 503),
    )
    async def list_all(caller: Caller, limit: Limit = 50, cursor: Cursor = None) -> ApiKeyPage:
        before = _CURSORS.decode("api-keys", cursor)
        async with tenant_reading(engine, caller.tenant) as connection:
            keys = await auth.list_api_keys(connection, caller.tenant, limit=limit, before=before)
        page, last = page_of(keys, limit)
        return ApiKeyPage(
            items=[ApiKey.model_validate(key) for key in page],
            next_cursor=last and _CURSORS.encode("api-keys", (last.created_at, last.prefix)),
        )

    @routes.get(
        "/{key_id}",
        operation_id="get_api_key",
        summary="One API key",
        responses=problem_responses(401, 403, 404, 422, 503),
    )
    async def get(caller: Caller, key_id: KeyId) -> ApiKey:
        async with tenant_reading(engine, caller.tenant) as connection:
            return await _found(connection, caller.tenant, key_id)

    @routes.delete(
        "/{key_id}",
        status_code=204,
        operation_id="revoke_api_key",
        summary="Revoke an API key",
        responses=problem_responses(401, 403, 404, 422, 503),
    )
    async def revoke(caller: Caller, key_id: KeyId) -> None:
        """From now on it opens nothing, for good. It stays in the list. To revoke it twice does no harm."""
        async with tenant_writing(engine, caller.tenant) as connection:
            prefix = auth.prefix_of(key_id)
            if await auth.revoke_api_key(connection, prefix, tenant=caller.tenant) is None:
                raise _not_found(key_id)

    return routes


async def _check_limit(connection: AsyncConnection, tenant: str) -> None:
    """Refuse a key too many; until the transaction ends nobody else makes one for the tenant.

    Raises:
        Conflict: `api_key_limit`.
    """
    await connection.execute(
        select(func.pg_advisory_xact_lock(advisory_key(f"penstock:upload:api-keys:{tenant}")))
    )
    if await auth.count_live_api_keys(connection, tenant) >= MAX_LIVE_KEYS:
        raise Conflict(
            "api_key_limit",
            f"there are {MAX_LIVE_KEYS} API keys that are neither revoked nor expired, which is all that a tenant may have",
            hint="revoke one that is not needed any more",
        )


async def _found(connection: AsyncConnection, tenant: str, key_id: str) -> ApiKey:
    key = await auth.find_api_key(connection, tenant, auth.prefix_of(key_id))
    if key is None:
        raise _not_found(key_id)
    return ApiKey.model_validate(key)


def _not_found(key_id: str) -> NotFound:
    return NotFound("api_key_not_found", f"there is no API key {key_id}")
