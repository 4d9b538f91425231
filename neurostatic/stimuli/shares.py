"""The units of a data set shared out among jobs, and what the jobs made put together again."""

import numpy as np
import pandas as pd
import xarray as xr

NO_UNIT = xr.Dataset(
    {"failed": ("unit", np.zeros(0, "U1"))},
    {"scan": ("unit", np.zeros(0, "U1")), "unit_id": ("unit", np.zeros(0, int))},
)


def share(units: pd.DataFrame, number: int, n_shares: int) -> pd.DataFrame:
    """The rows of one of `n_shares` shares, numbered from 1; in order, and as equal as can be. It may be empty."""
    return units.iloc[np.array_split(np.arange(len(units)), n_shares)[number - 1]]


def join_shares(shares: list[xr.Dataset]) -> xr.Dataset:
    """Stores of `unit` end to end, in the order given. Shorter histories (step, unit) are filled up with NaN."""
    shares = [made for made in shares if made.sizes["unit"]]
    if not shares:
        return NO_UNIT
    n_steps = max(made.sizes["step"] for made in shares)
    return xr.concat([made.pad(step=(0, n_steps - made.sizes["step"])) for made in shares], "unit")
