"""The settings of the daily analysis: its thresholds."""

from dataclasses import fields
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.notifier.analyses.thresholds import Thresholds
from shared.platform.settings import Unit

_BY_DEFAULT = Thresholds()


class AnalysisSettings(BaseSettings):
    """The environment variables `PENSTOCK_ANALYSIS_*`."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore", hide_input_in_errors=True)

    analysis_window_days: Annotated[int, Unit("days")] = Field(
        _BY_DEFAULT.window_days,
        ge=28,
        le=730,
        description="Days that a supplier's cadence is made of, and in which earlier files are looked for to compare with.",
    )
    analysis_new_days: Annotated[int, Unit("days")] = Field(
        _BY_DEFAULT.new_days,
        ge=1,
        le=180,
        description="A supplier whose first good file is fewer days ago is new, and never late.",
    )
    analysis_dead_days: Annotated[int, Unit("days")] = Field(
        _BY_DEFAULT.dead_days,
        ge=1,
        le=365,
        description="Days without a good file after which a supplier is dead.",
    )
    analysis_spread_ratio: Annotated[float, Unit("medians")] = Field(
        _BY_DEFAULT.spread_ratio,
        ge=0,
        le=10,
        description="Medians up to which the spread of the gaps between files, their standard deviation, is consistent.",
    )
    analysis_long_gap_ratio: Annotated[float, Unit("medians")] = Field(
        _BY_DEFAULT.long_gap_ratio, ge=1, le=10, description="Medians beyond which a gap is a long one."
    )
    analysis_long_gap_share: Annotated[float, Unit("share")] = Field(
        _BY_DEFAULT.long_gap_share,
        ge=0,
        le=1,
        description="Share of long gaps below which a cadence is consistent, whatever their spread.",
    )
    analysis_late_days: Annotated[int, Unit("days")] = Field(
        _BY_DEFAULT.late_days,
        ge=0,
        le=30,
        description="Days that a file may come after the day it was expected on before it is late.",
    )
    analysis_row_count_change: Annotated[float, Unit("share")] = Field(
        _BY_DEFAULT.row_count_change,
        gt=0,
        description="Share by which the records of a file may differ from the last good one; 0.3 is 30 %.",
    )
    analysis_row_count_sigma: Annotated[float, Unit("standard deviations")] = Field(
        _BY_DEFAULT.row_count_sigma,
        gt=0,
        description="Standard deviations by which they may differ from the files of the same weekday.",
    )
    analysis_row_count_files: Annotated[int, Unit("files")] = Field(
        _BY_DEFAULT.row_count_files,
        ge=2,
        le=100,
        description="Files of that weekday from which on they are compared with.",
    )
    analysis_reject_rate_jump: Annotated[float, Unit("share")] = Field(
        _BY_DEFAULT.reject_rate_jump,
        gt=0,
        le=1,
        description="By how much the share of rejected records may rise since the last good file; 0.1 is from 2 % to 12 %.",
    )
    analysis_price_change: Annotated[float, Unit("share")] = Field(
        _BY_DEFAULT.price_change,
        gt=0,
        description="Share by which a typical price may differ from the last good file; 0.3 is 30 %.",
    )
    analysis_lowest_price: Annotated[float, Unit("price")] = Field(
        _BY_DEFAULT.lowest_price,
        ge=0,
        allow_inf_nan=False,
        description="The typical price below which prices are too low, in whatever currency the files have.",
    )
    analysis_missing_share: Annotated[float, Unit("share")] = Field(
        _BY_DEFAULT.missing_share,
        ge=0,
        le=1,
        description="Share of empty cells in a key column that is too many.",
    )
    analysis_numbers_share: Annotated[float, Unit("share")] = Field(
        _BY_DEFAULT.numbers_share,
        ge=0,
        le=1,
        description="Share of numbers in a text column that is too many, unless it has been so for a month.",
    )
    analysis_format_share: Annotated[float, Unit("share")] = Field(
        _BY_DEFAULT.format_share,
        ge=0,
        le=1,
        description="Share of well-formed values in a key column that is too few.",
    )

    @property
    def thresholds(self) -> Thresholds:
        """What makes a supplier late, and a file odd."""
        return Thresholds(
            **{field.name: getattr(self, f"analysis_{field.name}") for field in fields(Thresholds)}
        )
