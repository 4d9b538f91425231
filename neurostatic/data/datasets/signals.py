"""What was measured in each trial of a scan: responses, behavior and pupil center (InputResponse, Eye, Treadmill)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from neurostatic.config import Preprocessing
from neurostatic.config.states import BEHAVIOR, EYE
from neurostatic.data.behavior import map_clock, sample_eye, sample_treadmill
from neurostatic.data.responses import (
    depth_count,
    filter_half_width,
    flips_recorded,
    presentation_duration,
    sample_responses,
    sampling_period,
    sampling_range,
    within_gaps,
)
from neurostatic.data.scans import Scan, Survey
from neurostatic.problems import InputError
from neurostatic.store import BLOCK_BYTES, release_pages

EYE_AXES = ("x", "y")
DURATION_TOLERANCE_S = 0.05


@dataclass(frozen=True)
class Signals:
    """What was measured in each trial, NaN where it is not known. Responses are read when they are asked for.

    Attributes:
        read_responses: positions of trials -> responses (trial, unit) float32.
        has_responses: (trial,) whether every unit has one.
        dead: (unit,) whether nothing was ever recorded of it.
        behavior: (trial, 3) pupil_radius, dpupil, treadmill.
        pupil_center: (trial, 2) x, y in px of the eye video.
        attributes: how it was computed.
    """

    read_responses: Callable[[np.ndarray], np.ndarray]
    has_responses: np.ndarray
    dead: np.ndarray
    behavior: np.ndarray
    pupil_center: np.ndarray
    attributes: dict[str, Any]


def scan_signals(scan: Scan, trials: pd.DataFrame, unit_rows: np.ndarray, options: Preprocessing) -> Signals:
    """The signals of a raw scan.

    Args:
        trials: rows of `scan.trials`, in the order that is wanted.
        unit_rows: (unit,) rows of `scan.units`.

    Raises InputError if the images were shown for less than the response window, or nothing was recorded.
    """
    if scan.traces is not None:
        return _sampled(scan, scan.traces, trials, unit_rows, options)
    if scan.responses is not None and scan.behavior is not None:
        return _binned(scan.responses, scan.behavior, scan.survey, trials.index.to_numpy(), unit_rows)
    raise InputError(f"scan {scan.name}: has neither traces nor responses and behavior")


def valid_trials(signals: Signals, excluded: np.ndarray, where: str) -> tuple[np.ndarray, dict[str, int]]:
    """Positions of the trials in which everything is known, and how many were dropped for which (first) reason.

    Raises InputError if none is left.
    """
    reasons = {
        "dropped_excluded": excluded.astype(bool),
        "dropped_response": ~signals.has_responses,
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
        raise InputError(
            f"{where}: no valid trial is left of {len(valid)}; dropped for {found}. Not measured, as the eye? Then "
            "write one number in its whole column, and set networks.shifter or networks.modulator to none"
        )
    return np.flatnonzero(valid), counts


def _binned(
    responses: np.ndarray, behavior: pd.DataFrame, survey: Survey, trial_rows: np.ndarray, unit_rows: np.ndarray
) -> Signals:
    """The responses form: a lab has already binned its responses and behavior."""
    behavior = behavior.iloc[trial_rows]

    def read_responses(trials: np.ndarray) -> np.ndarray:
        found = np.empty((len(trials), len(unit_rows)), np.float32)
        step = max(1, BLOCK_BYTES // (responses.itemsize * responses.shape[1]))
        for start in range(0, len(trials), step):
            rows = slice(start, start + step)
            found[rows] = responses[trial_rows[trials[rows]]][:, unit_rows]
            release_pages(responses)
        return found

    return Signals(
        read_responses,
        survey.n_missing[trial_rows] == 0,
        survey.silent[unit_rows],
        behavior[list(BEHAVIOR)].to_numpy(),
        behavior[list(EYE)].to_numpy(),
        {},
    )


def _sampled(
    scan: Scan, traces: np.ndarray, trials: pd.DataFrame, unit_rows: np.ndarray, options: Preprocessing
) -> Signals:
    """The traces form: sample traces, eye and treadmill of every trial that is not excluded."""
    offset_s, duration_s = options.offset_s, options.duration_s
    n_depths = depth_count(scan.fields.z_um)
    clock_s = np.asarray(scan.frame_times_stim, dtype=float)[::n_depths]
    volume_times_s = clock_s[: traces.shape[1]]
    delay_s = scan.delay_s()[unit_rows]
    flips_s = scan.flips_s()[trials.index]
    wanted = flips_recorded(flips_s, volume_times_s[0] + delay_s.min(), volume_times_s[-1] + delay_s.max())
    wanted &= ~trials.excluded.to_numpy()
    shown_s = presentation_duration(flips_s, wanted)
    if shown_s < duration_s - DURATION_TOLERANCE_S:
        raise InputError(
            f"scan {scan.name}: images were shown for {shown_s:.3f} s, less than the response window of "
            f"{duration_s} s; check the flips in trials.csv or set preprocessing.duration_s"
        )
    sample_s = np.where(wanted, flips_s[:, 1] + offset_s + duration_s / 2, np.nan)
    first_s, last_s = sampling_range(volume_times_s, delay_s, duration_s)
    behavior_s = map_clock(clock_s, np.asarray(scan.frame_times_behavior, dtype=float)[::n_depths], sample_s)
    eye = sample_eye(scan.eye, behavior_s, duration_s)
    speed_cm_s = sample_treadmill(scan.treadmill, behavior_s, duration_s)
    period_s = sampling_period(volume_times_s)
    half_width = filter_half_width(duration_s, period_s)
    lost = within_gaps(volume_times_s, sample_s, duration_s + period_s + delay_s.max())
    return Signals(
        lambda trials: sample_responses(traces, volume_times_s, delay_s, sample_s[trials], duration_s, unit_rows),
        (sample_s >= first_s) & (sample_s <= last_s) & ~lost,
        scan.survey.silent[unit_rows],
        np.column_stack([eye.pupil_radius, eye.dpupil, speed_cm_s]),
        eye[list(EYE)].to_numpy(),
        {
            "filter_taps": 2 * half_width + 1,
            "sampling_period_s": period_s,
            "n_depths": n_depths,
            "presentation_s": shown_s,
            # What the filter reads of the trace, from the onset: it may reach into the neighboring trials.
            # Interpolation between its samples adds up to a volume on either side.
            "support_start_s": offset_s + duration_s / 2 - half_width * period_s,
            "support_stop_s": offset_s + duration_s / 2 + half_width * period_s,
        },
    )
