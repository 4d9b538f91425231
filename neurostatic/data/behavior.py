"""Pupil and running at the instant of the response, mapped from the stimulus clock (Eye, Treadmill)."""

import numpy as np
import pandas as pd

from neurostatic.data.responses import (
    derivative_filter,
    fill_nans,
    interpolate,
    lowpass_filter,
    sampling_period,
    smooth_inside,
    within_gaps,
)
from neurostatic.problems import InputError

COUNTER_RANGE = 2.0**32  # of a wheel's counter
WHEEL_RATE_HZ = 10.0  # at which it is resampled
EYE_GAP = 3  # video frames: shorter gaps in the pupil track are filled, from here on they stay


def map_clock(from_s: np.ndarray, to_s: np.ndarray, queries_s: np.ndarray) -> np.ndarray:
    """Times of one clock on another, through events known on both: the starts of the volumes of the scan.

    Args:
        from_s, to_s: (event,) times of the events; the longer list may have one event more.
        queries_s: (query,) on the first clock.

    Returns:
        (query,) on the second clock, NaN outside the events.

    Raises InputError if the numbers of events differ by more than one.
    """
    if abs(len(from_s) - len(to_s)) > 1:
        raise InputError(
            f"frame_times_stim and frame_times_behavior: {len(from_s)} and {len(to_s)} volumes, "
            "at most 1 may be missing"
        )
    n_events = min(len(from_s), len(to_s))
    return interpolate(from_s[:n_events], to_s[:n_events], queries_s)


def sample_eye(eye: pd.DataFrame, times_s: np.ndarray, window_s: float) -> pd.DataFrame:
    """Pupil radius, its rate of change and the pupil's center at given times (Eye).

    Gaps of one or two video frames are filled. Longer gaps stay, and grow by the half width of the filter on both
    sides, as do those of more than half a second without rows. dpupil is in px/s; upstream's was in arbitrary units
    that depended on the camera (`derivative_filter`).

    Args:
        eye: time_s (behavior clock), radius_px, center_x_px, center_y_px.
        times_s: (trial,) on the behavior clock.
        window_s: target period of the low-pass filter.

    Returns:
        pupil_radius (px), dpupil (px/s), pupil_x (px), pupil_y (px), one row a time, NaN where unknown.

    Raises InputError if the camera is too slow for the window.
    """
    time_s = eye.time_s.to_numpy(float)
    period_s = sampling_period(time_s)
    taps = lowpass_filter(window_s, period_s)
    try:
        slope_taps = derivative_filter(window_s, period_s)
    except ValueError as error:
        raise InputError(f"eye.csv, column time_s: {error}") from error
    radius_px = fill_nans(eye.radius_px, EYE_GAP)
    filtered = {
        "pupil_radius": smooth_inside(radius_px, taps),
        "dpupil": smooth_inside(radius_px, slope_taps),
        "pupil_x": smooth_inside(fill_nans(eye.center_x_px, EYE_GAP), taps),
        "pupil_y": smooth_inside(fill_nans(eye.center_y_px, EYE_GAP), taps),
    }
    recorded_s = np.where(within_gaps(time_s, times_s, window_s + period_s), np.nan, times_s)
    return pd.DataFrame({name: interpolate(time_s, signal, recorded_s) for name, signal in filtered.items()})


def sample_treadmill(treadmill: pd.DataFrame, times_s: np.ndarray, window_s: float) -> np.ndarray:
    """Running speed at given times, the absolute value of the filtered velocity (Treadmill).

    NaNs in the velocity are not filled: they, and gaps of more than half a second without rows, spread by the half
    width of the filter.

    Args:
        treadmill: time_s (behavior clock), velocity_cm_s.
        times_s: (trial,) on the behavior clock.
        window_s: target period of the low-pass filter.

    Returns:
        (trial,) speed in cm/s, NaN where unknown.
    """
    time_s = treadmill.time_s.to_numpy(float)
    period_s = sampling_period(time_s)
    speed = np.abs(smooth_inside(treadmill.velocity_cm_s.to_numpy(float), lowpass_filter(window_s, period_s)))
    return interpolate(time_s, speed, np.where(within_gaps(time_s, times_s, window_s + period_s), np.nan, times_s))


def wheel_velocity(
    time_s: np.ndarray, counts: np.ndarray, counts_per_revolution: float, diameter_cm: float
) -> np.ndarray:
    """Velocity of a treadmill from the counter of its wheel, for exports that start one step earlier (Treadmill).

    v = d counts / dt / counts_per_revolution * pi * diameter, with counts resampled at 10 Hz and velocity
    interpolated back. A 32-bit counter that wraps is unwrapped. Upstream took n points over T s for points 0.1 s apart,
    and so gave velocities n / (n - 1) times too high.

    Args:
        time_s: (sample,) increasing.
        counts: (sample,) of the wheel encoder, NaN where it was not read; diameter_cm: of the wheel.

    Returns:
        (sample,) cm/s, signed, NaN where counts or time are, and everywhere if fewer than two are known.
    """
    time_s, counts = np.asarray(time_s, dtype=float), np.asarray(counts, dtype=float)
    known = ~np.isnan(time_s) & ~np.isnan(counts)
    if known.sum() < 2:
        return np.full(len(time_s), np.nan)
    known_s = time_s[known]
    steps = np.diff(counts[known], prepend=counts[known][0])
    position = np.cumsum(steps - COUNTER_RANGE * np.rint(steps / COUNTER_RANGE))
    n_points = max(2, round(WHEEL_RATE_HZ * (known_s[-1] - known_s[0])) + 1)
    grid_s = np.linspace(known_s[0], known_s[-1], n_points)
    counts_per_s = np.gradient(np.interp(grid_s, known_s, position), grid_s[1] - grid_s[0])
    velocity_cm_s = np.full(len(time_s), np.nan)
    velocity_cm_s[known] = np.interp(known_s, grid_s, counts_per_s / counts_per_revolution * np.pi * diameter_cm)
    return velocity_cm_s
