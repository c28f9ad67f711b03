"""What a machine costs to run: the price file, after validation."""

from __future__ import annotations

from pydantic import Field

from weightcut.records.base import Record


class Prices(Record):
    """What costs are computed with; every amount is in `currency`.

    The defaults hold no price and no grid; the watts are a stated assumption, which matters only
    where the hardware has no energy counter.
    """

    currency: str = Field("", max_length=12, description="the money's name, for people: EUR")
    machine_per_hour: float | None = Field(
        None, ge=0, le=1e9, description="price of the whole machine for an hour, used or not"
    )
    watts_per_core: float = Field(
        10.0, ge=0, le=1e4, description="watts that a core takes while it computes"
    )
    idle_watts: float = Field(
        0.0, ge=0, le=1e6, description="watts that the machine takes besides, over its whole time"
    )
    grid_g_per_kwh: float | None = Field(
        None, ge=0, le=1e4, description="grams of CO2 for each kWh from your grid"
    )
