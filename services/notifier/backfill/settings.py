"""Settings of the backfill from ClickHouse."""

from datetime import timedelta
from functools import partial
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.notifier.backfill.sources import Address, Sources, SourceTable
from shared.platform.settings import Given, Unit

ERRORS = "dif_errors(dt, supid, error_id)"
REASONS = "error_list(id, error_text)"
SUPPLIERS = "supplier_list(supid, name)"
PRICES = "daily_prices(dt, supid, price)"

_read_errors = partial(SourceTable.read, default=("dt", "supid", "error_id"))
_read_reasons = partial(SourceTable.read, default=("id", "error_text"))
_read_suppliers = partial(SourceTable.read, default=("supid", "name"))
_read_prices = partial(SourceTable.read, default=("dt", "supid", "price"))
_READERS = {
    "clickhouse_errors_table": _read_errors,
    "clickhouse_reasons_table": _read_reasons,
    "clickhouse_suppliers_table": _read_suppliers,
    "clickhouse_prices_table": _read_prices,
}


class ClickHouseSettings(BaseSettings):
    """The environment variables `PENSTOCK_CLICKHOUSE_*`. Without a URL there is no backfill."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore", hide_input_in_errors=True)

    clickhouse_url: Given[SecretStr] = Field(
        None,
        description="http[s]://user:password@host:port/database that errors are taken over from; unset: from none.",
    )
    clickhouse_tenant: Given[str] = Field(None, description="Whose errors these are.")
    clickhouse_errors_table: str = Field(
        ERRORS,
        description="One row for each error: its table, and the columns of time, supplier and error. This and the next"
        " three are left out where they are empty.",
    )
    clickhouse_reasons_table: str = Field(
        REASONS, description="What errors mean: its table, and the columns of id and text."
    )
    clickhouse_suppliers_table: str = Field(
        SUPPLIERS, description="Who suppliers are: its table, and the columns of id and name."
    )
    clickhouse_prices_table: str = Field(
        PRICES,
        description="One row for each price of a day: its table, and the columns of time, supplier and price.",
    )
    clickhouse_stage: str = Field(
        "consolidate", min_length=1, max_length=255, description="Stage that these errors are of."
    )
    clickhouse_timezone: Given[str] = Field(
        None,
        description="Zone of the local times that were written into columns without a zone; unset: they are right as"
        " ClickHouse has them, and dates are days of PENSTOCK_TIMEZONE.",
    )
    clickhouse_overlap_hours: Annotated[float, Unit("hours")] = Field(
        24.0,
        ge=0,
        le=24 * 31,
        description="How far behind the last row is read again, for rows that came late.",
    )

    @field_validator("clickhouse_url")
    @classmethod
    def _is_an_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            Address.read(url.get_secret_value())
        return url

    @field_validator(*_READERS)
    @classmethod
    def _is_a_table(cls, text: str, info: object) -> str:
        if text.strip():
            _READERS[info.field_name](text)  # type: ignore[attr-defined]
        return text.strip()

    @field_validator("clickhouse_timezone")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        try:
            return name and str(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"{name!r} is no time zone; write its IANA name, such as Europe/Berlin"
            ) from error

    @model_validator(mode="after")
    def _says_whose(self) -> Self:
        if self.clickhouse_url and not self.clickhouse_tenant:
            raise ValueError(
                "PENSTOCK_CLICKHOUSE_TENANT must be set with PENSTOCK_CLICKHOUSE_URL: the tenant whose errors these are"
            )
        return self

    @property
    def clickhouse(self) -> Sources | None:
        """What is read; None: nothing."""
        if not (self.clickhouse_url and self.clickhouse_tenant):
            return None
        tables = {name: self._table(name) for name in _READERS}
        defaults = (_read_suppliers(SUPPLIERS), _read_prices(PRICES))
        return Sources(
            address=Address.read(self.clickhouse_url.get_secret_value()),
            tenant=self.clickhouse_tenant,
            errors=tables["clickhouse_errors_table"],
            reasons=tables["clickhouse_reasons_table"],
            suppliers=tables["clickhouse_suppliers_table"],
            prices=tables["clickhouse_prices_table"],
            not_needed=frozenset(defaults),
            stage=self.clickhouse_stage,
            times=ZoneInfo(self.clickhouse_timezone) if self.clickhouse_timezone else None,
            overlap=timedelta(hours=self.clickhouse_overlap_hours),
        )

    def _table(self, name: str) -> SourceTable | None:
        text = getattr(self, name)
        return _READERS[name](text) if text else None
