"""One raw scan becomes one data set: images, responses, behavior, pupil center, and what they belong to."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.config import Preprocessing
from neurostatic.data.anatomy import UNKNOWN_AREA, area_membership, layers_of
from neurostatic.data.calibration import closest_calibration
from neurostatic.data.datasets.layout import assemble
from neurostatic.data.datasets.signals import scan_signals, valid_trials
from neurostatic.data.frames import apply_aperture, area_resize, picture_hashes
from neurostatic.data.gamma import fit_gamma
from neurostatic.data.scans import APERTURE, SOMA, Scan
from neurostatic.data.tiers import condition_tiers
from neurostatic.problems import InputError

INFO_ATTRIBUTES = ("animal_id", "session", "scan_idx", "stim_type", "loop_group", "day", "mei_source", "timestamp")
IDENTITY = ["image_class", "image_id"]
PUBLISHED = Preprocessing()


def build_dataset(scan: Scan, options: Preprocessing = PUBLISHED) -> xr.Dataset:
    """Turn a raw scan into a data set (Preprocessing, Frame, InputResponse, Eye, Treadmill, ConditionTier).

    A response is one sample of the filtered trace at onset + offset + duration/2, not a mean over a window; pupil
    and running are taken at the same instant. Trials that are excluded, or lack a flip, a response, the eye or the
    treadmill are dropped and counted, each at its first reason. Tiers are drawn from the trials that are left.

    Responses are sampled when they are asked for, so that a scan larger than memory can be written trial by trial.

    Returns:
        images(image, y, x) or, in color, images(image, channel, y, x) float32 px or cd/m2, responses(trial, unit),
        behavior(trial, behavior_channel), pupil_center(trial, eye_axis) float32, with coordinates along trial (ordered
        by trial_idx), image (those shown in a valid trial) and unit (somata, ordered by unit_id); nothing was ever
        recorded of a `dead` unit.

    Raises InputError if no valid trial is left, no image is repeated (imagenet scans), the images are smaller than
    asked for, or were shown for less than the response window, luminance is asked for without a calibration, or
    float16 does not hold the responses (for which they are read once more).
    """
    units = unit_table(scan)
    trials = scan.trials.sort_values("trial_idx", kind="stable")
    signals = scan_signals(scan, trials, units.scan_row.to_numpy(), options)
    kept, dropped = valid_trials(signals, trials.excluded.to_numpy(), f"scan {scan.name}")
    trials = trials.iloc[kept].reset_index(drop=True)
    try:
        images, image_table, luminance = _images(scan, trials, options)
    except InputError as error:
        raise InputError(f"scan {scan.name}: {error}") from error
    trials["image_index"] = _positions(trials, image_table)
    trials["tier"] = image_table.tier.to_numpy()[trials.image_index]
    attributes = {name: scan.info[name] for name in INFO_ATTRIBUTES if scan.info[name] is not None}
    attributes |= dropped | signals.attributes | luminance | _plain_options(options)
    image_units = "cd/m2" if options.luminance else "px"
    return assemble(trials, units, image_table, images, signals, kept, attributes, options.response_dtype, image_units)


def unit_table(scan: Scan) -> pd.DataFrame:
    """The somata of a scan by unit_id, with area, layer and the size of their field (AreaMembership, LayerMembership).

    brain_area and layer of units.csv count where given, else the area masks and the depths of the fields. `scan_row`
    is the row of a unit in the scan.
    """
    units = scan.units.assign(scan_row=np.arange(len(scan.units)))
    units = units[units.mask_type == SOMA].sort_values("unit_id")
    units = units.merge(scan.fields, on="field", how="left", validate="many_to_one")
    if "brain_area" in units:
        units["brain_area"] = units.brain_area.replace("", UNKNOWN_AREA)
    else:
        units["brain_area"] = UNKNOWN_AREA
        for field, labels in scan.area_labels.items():
            if labels is not None:
                here = (units.field == field).to_numpy()
                x, y = units.px_x[here], units.px_y[here]
                units.loc[here, "brain_area"] = area_membership(x, y, labels, scan.area_names)
    units["layer"] = layers_of(units, scan.fields)
    return units


def _images(
    scan: Scan, trials: pd.DataFrame, options: Preprocessing
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    """The images of these trials, each once, as the models see them; their identities and tiers; how they were made."""
    image_table = trials.groupby(IDENTITY, as_index=False).agg(
        n_trials=("trial_idx", "size"), stimulus_type=("stimulus_type", "first")
    )
    if options.tier_rule == "2019":  # by all that was shown: what is dropped must not decide
        shown = scan.trials.groupby(IDENTITY).size()
        image_table["n_trials"] = shown.loc[pd.MultiIndex.from_frame(image_table[IDENTITY])].to_numpy()
    source = _positions(image_table, scan.image_table)
    image_table["picture"] = picture_hashes(scan.images, source)
    image_table["tier"] = condition_tiers(
        image_table,
        options.validation_fraction,
        options.min_repeats,
        options.tier_seed,
        repeats_needed=scan.info["stim_type"] == "imagenet",
        rule=options.tier_rule,
        split=options.validation_split,
    )
    images = area_resize(scan.images, options.height_px, options.width_px, source, rounded=options.round_px)
    if set(APERTURE) <= set(scan.image_table.columns):
        images = apply_aperture(images, *scan.image_table.iloc[source][list(APERTURE)].to_numpy().T)
    if not options.luminance:
        return images, image_table, {}
    if scan.monitor_calibration is None:
        raise InputError("preprocessing.luminance needs monitor_calibration.csv, which this scan does not have")
    measured, _, table = closest_calibration(scan.monitor_calibration, scan.info["timestamp"], scan.info.get("rig"))
    fit = fit_gamma(table.pixel_value, table.luminance_cd_m2)
    images = (fit.amplitude * images.astype(float) ** fit.gamma + fit.offset).astype(np.float32)
    return images, image_table, {"calibration": measured, **{f"calibration_{k}": v for k, v in asdict(fit).items()}}


def _positions(rows: pd.DataFrame, image_table: pd.DataFrame) -> np.ndarray:
    """(row,) where the image of each row stands in a table of images."""
    return pd.MultiIndex.from_frame(image_table[IDENTITY]).get_indexer(pd.MultiIndex.from_frame(rows[IDENTITY]))


def _plain_options(options: Preprocessing) -> dict[str, Any]:
    """As Zarr attributes, which know no bool of NumPy and no tuple."""
    return {name: int(value) if isinstance(value, bool) else value for name, value in asdict(options).items()}
