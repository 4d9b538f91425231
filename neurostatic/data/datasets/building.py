"""One raw scan becomes one data set: images, responses, behavior, pupil center, and what they belong to."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.data.anatomy import UNKNOWN_AREA, UNSET_LAYER, area_membership, layer_membership
from neurostatic.data.behavior import map_clock, sample_eye, sample_treadmill
from neurostatic.data.frames import area_resize, condition_tiers, picture_hashes
from neurostatic.data.responses import (
    depth_count,
    filter_half_width,
    flips_recorded,
    presentation_duration,
    sample_responses,
    sampling_period,
)
from neurostatic.data.scans import SOMA, Scan
from neurostatic.store import InputError

BEHAVIOR = ("pupil_radius", "dpupil", "treadmill")
EYE_AXES = ("x", "y")
TRIAL_COORDINATES = ("trial_idx", "tier", "image_class", "image_id", "condition_hash", "stimulus_type", "image_index")
UNIT_COORDINATES = (
    "unit_id", "brain_area", "layer", "field", "um_x", "um_y", "um_z", "px_x", "px_y",
    "px_height", "px_width", "um_height", "um_width",
)  # fmt: skip
INFO_ATTRIBUTES = ("animal_id", "session", "scan_idx", "stim_type", "loop_group", "day", "mei_source", "timestamp")
DURATION_TOLERANCE_S = 0.05


@dataclass(frozen=True)
class Signals:
    """What was measured in each trial, NaN where it is not known.

    Attributes:
        responses: (trial, unit).
        behavior: (trial, 3) pupil_radius, dpupil, treadmill.
        pupil_center: (trial, 2) x, y in px of the eye video.
        attributes: how it was computed.
    """

    responses: np.ndarray
    behavior: np.ndarray
    pupil_center: np.ndarray
    attributes: dict


def build_dataset(
    scan: Scan,
    offset_s: float = 0.05,
    duration_s: float = 0.5,
    height: int = 36,
    width: int = 64,
    tier_seed: int = 0,
    validation_fraction: float = 0.1,
) -> xr.Dataset:
    """Turn a raw scan into a data set (Preprocessing 0, Frame, InputResponse, Eye, Treadmill, ConditionTier).

    A response is one sample of the filtered trace at onset + offset + duration/2, not a mean over a window; pupil
    and running are taken at the same instant. Trials that are excluded, or lack a flip, a response, the eye or the
    treadmill are dropped and counted, each at its first reason. Tiers are drawn from the trials that are left.

    Returns:
        images(image, y, x) float32 px, responses(trial, unit), behavior(trial, behavior_channel),
        pupil_center(trial, eye_axis) float32, with coordinates along trial (ordered by trial_idx), image (those
        shown in a valid trial) and unit (somata, ordered by unit_id); `dead` units are silent in every valid trial.

    Raises InputError if no valid trial is left, no image is repeated (imagenet scans), the images are smaller than
    asked for, or were shown for less than the response window.
    """
    somata = scan.units[scan.units.mask_type == SOMA].sort_values("unit_id")
    trials = scan.trials.sort_values("trial_idx", kind="stable")
    if scan.form == "traces":
        signals = _sample_traces(scan, trials, somata.index.to_numpy(), offset_s, duration_s)
    else:
        signals = _binned(scan, trials.index.to_numpy(), somata.index.to_numpy())
    kept, dropped = valid_trials(signals, trials.excluded.to_numpy(), f"scan {scan.name}")
    trials = trials.iloc[kept].reset_index(drop=True)

    identity = ["image_class", "image_id"]
    image_table = trials.groupby(identity, as_index=False).agg(
        n_trials=("trial_idx", "size"), stimulus_type=("stimulus_type", "first")
    )
    source = pd.MultiIndex.from_frame(scan.image_table[identity]).get_indexer(
        pd.MultiIndex.from_frame(image_table[identity])
    )
    shown = scan.images[source]
    image_table["picture"] = picture_hashes(shown)
    try:
        image_table["tier"] = condition_tiers(
            image_table,
            validation_fraction,
            seed=tier_seed,
            repeats_needed=scan.info["stim_type"] == "imagenet",
        )
        images = area_resize(shown, height, width)
    except InputError as error:
        raise InputError(f"scan {scan.name}: {error}") from error
    trials["image_index"] = pd.MultiIndex.from_frame(image_table[identity]).get_indexer(
        pd.MultiIndex.from_frame(trials[identity])
    )
    trials["tier"] = image_table.tier.to_numpy()[trials.image_index]

    attributes = {name: scan.info[name] for name in INFO_ATTRIBUTES if scan.info[name] is not None}
    attributes |= dropped | signals.attributes
    attributes |= {
        "offset_s": offset_s,
        "duration_s": duration_s,
        "height_px": height,
        "width_px": width,
        "tier_seed": tier_seed,
        "validation_fraction": validation_fraction,
    }
    return assemble(trials, unit_table(scan), image_table, images, signals, kept, attributes)


def unit_table(scan: Scan) -> pd.DataFrame:
    """The somata of a scan by unit_id, with area, layer and the size of their field (AreaMembership, LayerMembership).

    brain_area and layer of units.csv count where given, else the area masks and the depths of the fields.
    """
    units = scan.units[scan.units.mask_type == SOMA].sort_values("unit_id")
    units = units.merge(scan.fields, on="field", how="left", validate="many_to_one")
    if "brain_area" in units:
        units["brain_area"] = units.brain_area.replace("", UNKNOWN_AREA)
    else:
        units["brain_area"] = UNKNOWN_AREA
        for field, labels in scan.area_labels.items():
            here = (units.field == field).to_numpy()
            units.loc[here, "brain_area"] = area_membership(units.px_x[here], units.px_y[here], labels, scan.area_names)
    if "layer" in units:
        units["layer"] = units.layer.replace("", UNSET_LAYER)
    else:
        units["layer"] = layer_membership(units.z_um)
    return units


def valid_trials(signals: Signals, excluded: np.ndarray, where: str) -> tuple[np.ndarray, dict[str, int]]:
    """Positions of the trials in which everything is known, and how many were dropped for which (first) reason.

    Raises InputError if none is left.
    """
    reasons = {
        "dropped_excluded": excluded.astype(bool),
        "dropped_flips": np.isnan(signals.responses).any(1),
        "dropped_eye": np.isnan(signals.behavior[:, :2]).any(1) | np.isnan(signals.pupil_center).any(1),
        "dropped_treadmill": np.isnan(signals.behavior[:, 2]),
    }
    valid = np.ones(len(excluded), dtype=bool)
    counts = {}
    for name, bad in reasons.items():
        counts[name] = int((valid & bad).sum())
        valid &= ~bad
    if not valid.any():
        found = ", ".join(f"{name.removeprefix('dropped_')} {count}" for name, count in counts.items())
        raise InputError(f"{where}: no valid trial is left of {len(valid)}; dropped for {found}")
    return np.flatnonzero(valid), counts


def assemble(
    trials: pd.DataFrame,
    units: pd.DataFrame,
    image_table: pd.DataFrame,
    images: np.ndarray,
    signals: Signals,
    kept: np.ndarray,
    attributes: dict,
) -> xr.Dataset:
    """Put valid trials together as one data set.

    Args:
        trials: the valid trials with the columns TRIAL_COORDINATES.
        units: with the columns UNIT_COORDINATES.
        image_table: image_class and image_id of each image.
        images: (image, y, x) px.
        signals: of all trials, of which `kept` are the valid ones.
    """
    responses = signals.responses[kept].astype(np.float32)
    coordinates = {name: ("trial", _column(trials[name])) for name in TRIAL_COORDINATES}
    coordinates |= {name: ("unit", _column(units[name])) for name in UNIT_COORDINATES}
    return xr.Dataset(
        {
            "images": (("image", "y", "x"), images),
            "responses": (("trial", "unit"), responses),
            "behavior": (("trial", "behavior_channel"), signals.behavior[kept].astype(np.float32)),
            "pupil_center": (("trial", "eye_axis"), signals.pupil_center[kept].astype(np.float32)),
        },
        coordinates
        | {
            "dead": ("unit", (responses == 0).all(0)),
            "images_class": ("image", _column(image_table.image_class)),
            "images_id": ("image", _column(image_table.image_id)),
            "behavior_channel": list(BEHAVIOR),
            "eye_axis": list(EYE_AXES),
        },
        attributes,
    )


def _column(values: pd.Series) -> np.ndarray:
    """A column as numbers or as fixed-width text."""
    return values.to_numpy() if values.dtype.kind in "iufb" else np.array(values.tolist(), dtype=str)


def _binned(scan: Scan, trial_rows: np.ndarray, unit_rows: np.ndarray) -> Signals:
    """The responses form: a lab has already binned its responses and behavior."""
    behavior = scan.behavior.iloc[trial_rows]
    return Signals(
        np.asarray(scan.responses)[np.ix_(trial_rows, unit_rows)],
        behavior[list(BEHAVIOR)].to_numpy(),
        behavior[["pupil_x", "pupil_y"]].to_numpy(),
        {},
    )


def _sample_traces(
    scan: Scan, trials: pd.DataFrame, unit_rows: np.ndarray, offset_s: float, duration_s: float
) -> Signals:
    """The traces form: sample traces, eye and treadmill of every trial that is not excluded."""
    n_depths = depth_count(scan.fields.z_um)
    volume_times_s = np.asarray(scan.frame_times_stim, dtype=float)[::n_depths]
    n_volumes = min(len(volume_times_s), scan.traces.shape[1])
    volume_times_s = volume_times_s[:n_volumes]
    delay_s = scan.delay_s()[unit_rows]
    flips_s = scan.flips_s()[trials.index]
    wanted = flips_recorded(flips_s, volume_times_s[0] + delay_s.min(), volume_times_s[-1] + delay_s.max())
    wanted &= ~trials.excluded.to_numpy()
    shown_s = presentation_duration(flips_s[wanted])
    if shown_s < duration_s - DURATION_TOLERANCE_S:
        raise InputError(
            f"scan {scan.name}: images were shown for {shown_s:.3f} s, less than the response window of "
            f"{duration_s} s; check the flips in trials.csv or set preprocessing.duration_s"
        )
    sample_s = np.where(wanted, flips_s[:, 1] + offset_s + duration_s / 2, np.nan)
    responses = sample_responses(scan.traces, volume_times_s, delay_s, sample_s, duration_s, unit_rows)
    behavior_clock_s = np.asarray(scan.frame_times_behavior, dtype=float)[::n_depths]
    behavior_s = map_clock(np.asarray(scan.frame_times_stim, dtype=float)[::n_depths], behavior_clock_s, sample_s)
    eye = sample_eye(scan.eye, behavior_s, duration_s)
    speed_cm_s = sample_treadmill(scan.treadmill, behavior_s, duration_s)
    period_s = sampling_period(volume_times_s)
    half_width = filter_half_width(duration_s, period_s)
    return Signals(
        responses,
        np.column_stack([eye.pupil_radius, eye.dpupil, speed_cm_s]),
        eye[["pupil_x", "pupil_y"]].to_numpy(),
        {
            "filter_taps": 2 * half_width + 1,
            "sampling_period_s": period_s,
            "n_depths": n_depths,
            "presentation_s": shown_s,
            # What the response reads of the trace, from the onset: it may reach into the neighboring trials.
            "support_start_s": offset_s + duration_s / 2 - half_width * period_s,
            "support_stop_s": offset_s + duration_s / 2 + half_width * period_s,
        },
    )
