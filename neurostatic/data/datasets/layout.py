"""The layout of a data set: its variables, their dimensions, coordinates and units."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.config.states import BEHAVIOR
from neurostatic.data.datasets.signals import EYE_AXES, Signals
from neurostatic.problems import InputError
from neurostatic.store import plain_column, rows_on_demand

TRIAL_COORDINATES = ("trial_idx", "tier", "image_class", "image_id", "condition_hash", "stimulus_type", "image_index")
UNIT_COORDINATES = (
    "unit_id", "brain_area", "layer", "field", "um_x", "um_y", "um_z", "px_x", "px_y",
    "px_height", "px_width", "um_height", "um_width",
)  # fmt: skip
IMAGE_DIMS = {3: ("image", "y", "x"), 4: ("image", "channel", "y", "x")}
UNITS = {
    "images": "px",
    "responses": "a.u.",
    "behavior": "px, px/s, cm/s",
    "pupil_center": "px of the eye video",
    **dict.fromkeys(("um_x", "um_y", "um_z", "um_height", "um_width"), "um"),
    **dict.fromkeys(("px_x", "px_y", "px_height", "px_width"), "px of the field"),
}
LARGEST_LOSS = 1e-3  # of float16: rms rounding error of a unit over the rms of its responses
CHECKED_TRIALS = 256  # at a time


def assemble(
    trials: pd.DataFrame,
    units: pd.DataFrame,
    image_table: pd.DataFrame,
    images: np.ndarray,
    signals: Signals,
    kept: np.ndarray,
    attributes: dict[str, Any],
    response_dtype: str = "float32",
    image_units: str = "px",
) -> xr.Dataset:
    """Put valid trials together as one data set; responses are read or computed when they are asked for.

    Args:
        trials: the valid trials with the columns TRIAL_COORDINATES.
        units: with the columns UNIT_COORDINATES.
        image_table: image_class, image_id and picture (hash of the pixels that were shown) of each image.
        images: (image, y, x) or (image, channel, y, x).
        signals: of all trials, of which `kept` are the valid ones.
        attributes: how it was made.
        response_dtype: 'float32' or 'float16', for which all responses are read once more.
        image_units: 'px' or 'cd/m2'.

    Raises InputError if float16 would lose the responses of a unit.
    """
    if response_dtype == "float16":
        _check_half(signals, kept, units.unit_id.to_numpy())
    coordinates = {name: ("trial", plain_column(trials[name])) for name in TRIAL_COORDINATES}
    coordinates |= {name: ("unit", plain_column(units[name])) for name in UNIT_COORDINATES}
    responses = rows_on_demand(
        ("trial", "unit"),
        (len(kept), len(units)),
        response_dtype,
        lambda rows: signals.read_responses(kept[rows]).astype(response_dtype, copy=False),
    )
    dataset = xr.Dataset(
        {
            "images": (IMAGE_DIMS[images.ndim], images),
            "responses": responses,
            "behavior": (("trial", "behavior_channel"), signals.behavior[kept].astype(np.float32)),
            "pupil_center": (("trial", "eye_axis"), signals.pupil_center[kept].astype(np.float32)),
        },
        coordinates
        | {
            "dead": ("unit", signals.dead),
            "images_class": ("image", plain_column(image_table.image_class)),
            "images_id": ("image", plain_column(image_table.image_id)),
            "images_picture": ("image", plain_column(image_table.picture)),
            "behavior_channel": list(BEHAVIOR),
            "eye_axis": list(EYE_AXES),
        },
        attributes,
    )
    for name, unit in (UNITS | {"images": image_units}).items():
        dataset[name].attrs["units"] = unit
    return dataset


def _check_half(signals: Signals, kept: np.ndarray, unit_ids: np.ndarray) -> None:
    """Does float16 hold the responses of every unit, whose 11 bits reach from 6e-5 to 65504?"""
    lost, power, largest = np.zeros((3, len(unit_ids)))
    for start in range(0, len(kept), CHECKED_TRIALS):
        responses = signals.read_responses(kept[start : start + CHECKED_TRIALS])
        with np.errstate(over="ignore"):
            rounded = responses.astype(np.float16).astype(np.float32)
        lost += ((rounded - responses) ** 2).sum(0)  # infinite beyond the range
        power += (responses**2).sum(0)
        largest = np.maximum(largest, np.abs(responses).max(0))
    bad = lost > LARGEST_LOSS**2 * power
    if bad.any():
        loss = np.sqrt(lost[bad][0] / power[bad][0])
        raise InputError(
            f"preprocessing.response_dtype: float16 does not hold the responses of {bad.sum()} units, the first is "
            f"unit {unit_ids[bad][0]} with values up to {largest[bad][0]:g} and a rounding error of {loss:.2g} of "
            f"them; allowed is {LARGEST_LOSS:g}, or float32"
        )
