"""Webhook endpoints as the API takes and shows them. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.notifier.delivery.health import DISABLED_AFTER
from services.notifier.delivery.signing import Signature, checked_secret, public_key_of, signature_of
from services.notifier.endpoints import headers
from services.notifier.messages.event_types import EVENT_TYPES, WILDCARDS
from services.notifier.targets.urls import MAX_URL_LENGTH
from services.notifier.texts import Paragraph
from shared.contracts.datasets import datasets
from shared.contracts.problems import Unprocessable
from shared.platform.paging import TotalCount, without_nul

MAX_RATE = 1000  # attempts a second
MOST_OVERLAP_HOURS = 168  # a week

DisabledReason = Literal["gone", "failing", "paused"]

Url = Annotated[
    str,
    AfterValidator(without_nul),
    Field(
        description="http or https, to a public address; without credentials.",
        max_length=MAX_URL_LENGTH,
        examples=["https://example.com/webhooks"],
    ),
]
EventTypes = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": [*EVENT_TYPES, *WILDCARDS]})]],
    Field(
        description="Which webhooks it is sent. `product.*` is all that begin with `product.`, `*` is everything.",
        min_length=1,
        max_length=100,
        examples=[["import.*", "product.deleted"]],
    ),
]
Datasets = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": list(datasets())})]] | None,
    Field(
        description="Of the imports and records of these datasets alone. What is about no dataset, as"
        " `investigation.*`, it is sent in any case. null: of all.",
        min_length=1,
        max_length=100,
        examples=[["products"]],
    ),
]
RateLimit = Annotated[
    int | None,
    Field(
        description="Attempts a second, at most; what is more, waits. null: as many as it answers fast.",
        ge=1,
        le=MAX_RATE,
        examples=[50],
    ),
]
Description = Annotated[
    Paragraph | None, Field(description="For people.", examples=["Warehouse, production"])
]
Secret = Annotated[
    str,
    AfterValidator(checked_secret),
    Field(
        description="`whsec_` and base64 of 24 to 64 bytes.",
        json_schema_extra={
            "pattern": "^whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{2}(==|[A-Za-z0-9+/]=))?$"
        },
    ),
]
_HEADERS = (
    f"Sent with every attempt: up to {headers.MAX_HEADERS}, {headers.MAX_BYTES:,} bytes in all, visible ASCII. Not"
    " those that Penstock sets (`content-*`, `webhook-*`, `host`, `user-agent`, `accept-encoding`) or that are about"
    " the connection."
)
_MASKED = f" A value whose name looks like a secret's is shown as `{headers.MASK}`."
_SIGNATURE = (
    "How attempts are signed (Standard Webhooks 1.0): always with the secret (`v1`, HMAC-SHA256); with `ed25519` also"
    " with a private key of Penstock's (`v1a`), so that a receiver needs nothing secret to check it."
)


class NewWebhook(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Url
    event_types: EventTypes
    description: Description = None
    datasets: Datasets = None
    headers: dict[str, str] = Field(default_factory=dict, description=_HEADERS, max_length=100)
    rate_limit: RateLimit = None
    signature: Signature = Field("hmac", description=_SIGNATURE)
    secret: Secret | None = Field(
        None, description="One that the receiver has already; a new one, if not given."
    )


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")


def may_be_missing(**options: Any) -> Any:
    """A member of a JSON object that may be left out, and may not be null."""
    return Field(None, json_schema_extra=_without_default, **options)


class WebhookPatch(BaseModel):
    """Changes of a webhook endpoint (JSON merge patch, RFC 7396): what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: Url = may_be_missing()
    event_types: EventTypes = may_be_missing()
    description: Description = None
    datasets: Datasets = None
    headers: dict[str, str | None] | None = Field(
        None,
        description=f"{_HEADERS} Those that are not named stay; null removes one, the mask"
        f" `{headers.MASK}` leaves its value as it is. null instead of all: there are none any more.",
        max_length=100,
    )
    rate_limit: RateLimit = None
    signature: Signature = may_be_missing(
        description=f"{_SIGNATURE} `hmac` ends `v1a` at once, and forgets the key pair: have receivers check `v1` before."
    )
    enabled: bool = may_be_missing(
        description="false: it is sent nothing until it is enabled; what is pending waits, what comes meanwhile is"
        " `skipped`. true: what is pending goes out when it is due, which may be at once; what was skipped waits for a"
        " replay."
    )


class Rotation(BaseModel):
    """How a secret is replaced."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: int = Field(
        24,
        ge=0,
        le=MOST_OVERLAP_HOURS,
        description="How long attempts are signed with the old one, too; 0: not at all.",
    )
    signature: Signature = Field(
        "hmac", description="What is replaced: `hmac` the secret, `ed25519` the key pair, if there is one."
    )
    secret: Secret | None = Field(None, description="The new secret; one is made, if not given.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.secret is not None and self.signature == "ed25519":
            raise ValueError("`secret` is for the signature `hmac`; key pairs are always made here")
        return self


class Health(BaseModel):
    """How an endpoint does."""

    state: Literal["healthy", "failing", "open"] = Field(
        description="`failing`: the last attempts failed. `open`: so many did that nothing is sent (a circuit breaker),"
        " but for a probe from time to time. An endpoint that is disabled stays as it was."
    )
    failures: int = Field(description="Attempts that failed, in a row.")
    failing_since: datetime | None
    last_failure_at: datetime | None
    next_probe_at: datetime | None = Field(description="While `open`: one attempt is made from then on.")
    disables_at: datetime | None = Field(
        description="When it will be disabled, if nothing but failures comes until then."
    )


class Links(BaseModel):
    """Where the rest of a webhook endpoint is: paths on this host."""

    self_: str = Field(serialization_alias="self")
    secret: str
    rotate_secret: str
    deliveries: str
    test: str
    replay: str


class Webhook(BaseModel):
    """A webhook endpoint: where deliveries go, and which."""

    id: UUID
    url: str
    description: str | None
    event_types: list[str]
    datasets: list[str] | None
    headers: dict[str, str] = Field(description=f"Sent with every attempt.{_MASKED}")
    rate_limit: int | None
    signature: Signature
    public_key: str | None = Field(description="`whpk_…`, which checks `v1a`; null without `ed25519`.")
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`gone`: it answered 410. `failing`: nothing but failures for 5 days. `paused`: somebody disabled it."
    )
    disabled_at: datetime | None
    last_sequence: int = Field(
        description="The `webhook-sequence` of its newest delivery, counted from 1 without a gap; 0: there is none."
    )
    health: Health
    created_at: datetime
    updated_at: datetime
    links: Links


class CreatedWebhook(Webhook):
    secret: str = Field(
        description="Signs every attempt (Standard Webhooks 1.0). `links.secret` shows it again."
    )


class WebhookPage(BaseModel):
    items: list[Webhook]
    next_cursor: str | None
    total: TotalCount = None


class RetiredSecret(BaseModel):
    """One that was replaced. Either it is a secret, or a key pair, of which the public key is shown."""

    secret: str | None
    public_key: str | None
    expires_at: datetime = Field(description="Until then attempts are signed with it, too.")


class WebhookSecret(BaseModel):
    """What receivers check signatures with."""

    secret: str = Field(description="`whsec_…`, for `v1`.")
    public_key: str | None = Field(description="`whpk_…`, for `v1a`; null without `ed25519`.")
    retired: list[RetiredSecret] = Field(description="Those that expire last come first.")


class RotatedSecret(WebhookSecret):
    overlap_ends_at: datetime | None = Field(
        description="Until then attempts are signed with the replaced one, too; null: they are not any more."
    )


def webhook_from(row: Any) -> Webhook:
    """A row of `repository.endpoint` as it is shown."""
    return Webhook(**_members(row))


def created_webhook_from(row: Any, secret: str) -> CreatedWebhook:
    return CreatedWebhook(**_members(row), secret=secret)


def secret_from(row: Any, retired: Iterable[Any]) -> WebhookSecret:
    """What `repository.keys` and `repository.retired_keys` give, as it is shown: never a private key."""
    return WebhookSecret(
        secret=row.secret,
        public_key=row.private_key and public_key_of(row.private_key),
        retired=[_retired(one.secret, one.expires_at) for one in retired],
    )


def checked_datasets(names: Iterable[str]) -> list[str]:
    """`names` without repetitions, in their order.

    Raises:
        Unprocessable: `dataset_unknown`.
    """
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in datasets()]:
        raise Unprocessable(
            "dataset_unknown",
            f"there is no dataset {', '.join(map(repr, unknown))}",
            hint=f"datasets are: {', '.join(datasets())}",
        )
    return wanted


_SAME = (
    *("id", "url", "description", "event_types", "datasets", "rate_limit", "enabled", "disabled_reason"),
    *("disabled_at", "last_sequence", "created_at", "updated_at"),
)


def _members(row: Any) -> Mapping[str, Any]:
    return {
        **{name: getattr(row, name) for name in _SAME},
        "headers": headers.shown(row.headers),
        "signature": "ed25519" if row.private_key else "hmac",
        "public_key": row.private_key and public_key_of(row.private_key),
        "health": _health(row),
        "links": _links(row.id),
    }


def _health(row: Any) -> Health:
    failing = row.failing_since is not None
    return Health(
        state="open" if row.probe_at else "failing" if failing else "healthy",
        failures=row.failures or 0,
        failing_since=row.failing_since,
        last_failure_at=row.last_failure_at,
        next_probe_at=row.probe_at,
        disables_at=row.failing_since + DISABLED_AFTER if failing and row.enabled else None,
    )


def _links(webhook_id: UUID) -> Links:
    here = f"/api/v1/webhooks/{webhook_id}"
    return Links(
        self_=here,
        secret=f"{here}/secret",
        rotate_secret=f"{here}/rotate-secret",
        deliveries=f"{here}/deliveries",
        test=f"{here}/test",
        replay=f"{here}/replay",
    )


def _retired(key: str, expires_at: datetime) -> RetiredSecret:
    if signature_of(key) == "ed25519":
        return RetiredSecret(secret=None, public_key=public_key_of(key), expires_at=expires_at)
    return RetiredSecret(secret=key, public_key=None, expires_at=expires_at)
