"""The notifier's settings."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from services.notifier.analyses.settings import AnalysisSettings
from services.notifier.backfill.settings import ClickHouseSettings
from services.notifier.targets.addresses import Network
from services.notifier.targets.policy import PortRange, TargetPolicy, read_network, read_ports
from services.notifier.targets.resolver import read_nameserver
from shared.platform.settings import ApiSettings, CommaSeparated, Unit


def _each(read: Callable[[str], Any]) -> BeforeValidator:
    """Reads a list whose parts are separated by commas."""

    def listed(value: object) -> object:
        if not isinstance(value, str):
            return value
        return [read(part.strip()) for part in value.split(",") if part.strip()]

    return BeforeValidator(listed)


class Settings(AnalysisSettings, ClickHouseSettings, ApiSettings):
    """The environment variables `PENSTOCK_*` that the notifier reads."""

    webhook_schemes: CommaSeparated = Field(
        ("https", "http"), description="Of which URLs webhooks may be: `https`, or `https,http`."
    )
    webhook_ports: Annotated[Sequence[PortRange], NoDecode, _each(read_ports)] = Field(
        TargetPolicy.ports, description="Ports and ranges of ports that webhooks may go to."
    )
    webhook_allow_private: bool = Field(
        False,
        description="Whether webhooks may go to loopback and private addresses, for development. Link-local ones, and"
        " with them a cloud's metadata service, stay forbidden.",
    )
    webhook_allow_networks: Annotated[Sequence[Network], NoDecode, _each(read_network)] = Field(
        (), description="Networks that webhooks may go to though they are forbidden, separated by commas."
    )
    webhook_nameservers: Annotated[Sequence[str], NoDecode, _each(read_nameserver)] = Field(
        (),
        description="Name servers that webhooks' hosts are looked up with, `address[:port]`; empty: the system's.",
    )
    webhook_retry_scale: Annotated[float, Unit("times")] = Field(
        1.0,
        gt=0,
        le=100,
        description="Factor on every delay of the webhook retry schedule; below 1 for trials.",
    )
    webhook_retention_days: Annotated[int, Unit("days")] = Field(
        30,
        ge=7,
        le=3650,
        description="For how many days deliveries of webhooks are kept: to look at, and to replay.",
    )

    event_quota_per_minute: Annotated[int, Unit("events a minute")] = Field(
        100_000,
        ge=1,
        le=1_000_000_000,
        description="Investigation events a minute that each source may log: a supplier, or without one a stage.",
    )
    investigation_retention_days: Annotated[int, Unit("days")] = Field(
        400,
        ge=30,
        le=3650,
        description="For how many days investigation events are kept. Counts, and numbers by day, stay.",
    )

    timezone: str = Field(
        "UTC",
        description="Time zone of days and of times without an offset, by its IANA name, such as `Europe/Berlin`.",
    )

    job_catch_up_days: Annotated[int, Unit("days")] = Field(
        31,
        ge=1,
        le=366,
        description="How many dates that jobs missed, while nothing ran, are made up for, at most.",
    )

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"{name!r} is no time zone; write its IANA name, such as Europe/Berlin"
            ) from error
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of days."""
        return ZoneInfo(self.timezone)

    @field_validator("webhook_schemes")
    @classmethod
    def _are_schemes(cls, schemes: Sequence[str]) -> Sequence[str]:
        if not schemes or not {"https", "http"}.issuperset(schemes):
            raise ValueError("it must be `https`, `http` or `https,http`")
        return schemes

    @field_validator("webhook_ports")
    @classmethod
    def _are_some(cls, ports: Sequence[PortRange]) -> Sequence[PortRange]:
        if not ports:
            raise ValueError("it names no port; write 443, or 443,1024-65535")
        return ports

    @property
    def targets(self) -> TargetPolicy:
        """Where webhooks may go."""
        return TargetPolicy(
            schemes=self.webhook_schemes,
            ports=self.webhook_ports,
            allow_private=self.webhook_allow_private,
            allow_networks=self.webhook_allow_networks,
        )
