import numpy as np
import pandas as pd
import pytest

from neurostatic.data.behavior import map_clock, sample_eye, sample_treadmill, wheel_velocity
from neurostatic.data.responses import derivative_filter, fill_nans, lowpass_filter, smooth
from neurostatic.problems import InputError


def eye_table(time_s, radius_px, x_px=160.0, y_px=120.0):
    return pd.DataFrame({"time_s": time_s, "radius_px": radius_px, "center_x_px": x_px, "center_y_px": y_px})


@pytest.mark.parametrize(("period_s", "gain"), [(0.125, 4.4421530), (0.05, 23.4791067), (0.01, 702.8802018)])
def test_derivative_filter(period_s, gain):  # G2
    taps = derivative_filter(0.5, period_s)
    n = len(taps) - 1
    upstream = 0.46 * np.sin(2 * np.pi * np.arange(n + 1) / n)
    ramp = np.arange(3.0 * n)
    assert smooth(ramp, upstream)[n:-n] == pytest.approx(gain, abs=1e-6)
    assert taps == pytest.approx(upstream / (gain * period_s), rel=1e-6)
    assert smooth(7 * ramp * period_s, taps)[n:-n] == pytest.approx(7)  # 7 px/s, rising: positive
    assert np.abs(smooth(np.full(3 * n, 20.0), taps)[n:-n]).max() < 1e-11


def test_too_slow_for_a_slope():
    eye = eye_table(np.arange(40) * 0.6, 20.0)
    with pytest.raises(InputError, match=r"eye\.csv, column time_s: a slope over 0\.5 s needs a sampling period"):
        sample_eye(eye, np.array([5.0]), 0.5)


def test_nan_gap_spreads_by_the_filter():  # G7
    time_s = np.arange(200) * 0.05
    radius_px = np.full(200, 20.0)
    radius_px[100:103] = np.nan
    filtered = smooth(fill_nans(radius_px, 3), lowpass_filter(0.5, 0.05))
    assert np.flatnonzero(np.isnan(filtered)).tolist() == list(range(91, 112))
    queries_s = np.array([90 * 0.05, 90 * 0.05 + 0.001, 112 * 0.05 - 0.001, 112 * 0.05])
    sampled = sample_eye(eye_table(time_s, radius_px), queries_s, 0.5)
    # The slope has no taps at its ends but spreads alike: the whole trial is lost.
    assert sampled.pupil_radius.to_numpy() == pytest.approx([20, np.nan, np.nan, 20], nan_ok=True)
    assert sampled.dpupil.isna().tolist() == [False, True, True, False]
    assert sampled.pupil_x.to_numpy() == pytest.approx(160)


def test_short_gap_is_filled():
    radius_px = np.full(200, 20.0)
    radius_px[100:102] = np.nan
    sampled = sample_eye(eye_table(np.arange(200) * 0.05, radius_px), np.array([5.0]), 0.5)
    assert sampled.pupil_radius[0] == pytest.approx(20)


@pytest.mark.parametrize("period_s", [0.125, 0.05, 0.01])
def test_dpupil_is_px_per_second_at_any_camera_rate(period_s):
    time_s = np.arange(0, 20, period_s)
    sampled = sample_eye(eye_table(time_s, 5 + 0.8 * time_s), np.array([7.3, 11.1]), 0.5)
    assert sampled.dpupil.to_numpy() == pytest.approx(0.8)
    assert sampled.pupil_radius.to_numpy() == pytest.approx([5 + 0.8 * 7.3, 5 + 0.8 * 11.1])


def test_speed_is_the_absolute_value_of_the_filtered_velocity():  # G8
    time_s = np.arange(0, 10, 0.01)
    steady = pd.DataFrame({"time_s": time_s, "velocity_cm_s": -5.0})
    assert sample_treadmill(steady, np.array([5.0]), 0.5) == pytest.approx(5.0)
    shaking = steady.assign(velocity_cm_s=5.0 * (-1) ** np.arange(len(time_s)))
    assert sample_treadmill(shaking, time_s[[500]], 0.5) == pytest.approx(0.0075472, abs=1e-6)
    steady.loc[480, "velocity_cm_s"] = np.nan  # not filled
    assert np.isnan(sample_treadmill(steady, np.array([5.0]), 0.5))
    assert sample_treadmill(steady, np.array([6.0]), 0.5) == pytest.approx(5.0)


def test_clock_map():  # G9
    stim_s, behavior_s = np.array([0.0, 1, 2]), np.array([5.0, 7, 9])
    assert map_clock(stim_s, behavior_s, np.array([0.5, 1.25])) == pytest.approx([6.0, 7.5])
    assert np.isnan(map_clock(stim_s, behavior_s, np.array([2.1])))
    assert map_clock(stim_s, np.append(behavior_s, 11), np.array([2.0])) == pytest.approx([9])
    with pytest.raises(InputError, match="3 and 5 volumes"):
        map_clock(stim_s, np.arange(5.0), np.array([1.0]))


def test_wheel_velocity():  # G20
    time_s = np.arange(0, 10.005, 0.01)
    counts = 100 * time_s
    assert wheel_velocity(time_s, counts, 1000, 20.0) == pytest.approx(6.2831853)  # upstream 6.3466518
    assert wheel_velocity(time_s, -counts, 1000, 20.0) == pytest.approx(-6.2831853)
    wrapped = (np.rint(counts) + 2**32 - 300) % 2**32  # the counter passes its end
    assert wheel_velocity(time_s, wrapped, 1000, 20.0) == pytest.approx(6.2831853, rel=0.15)
    assert wheel_velocity(time_s, wrapped, 1000, 20.0).mean() == pytest.approx(6.2831853, rel=1e-3)
    counts[300] = np.nan
    velocity = wheel_velocity(time_s, counts, 1000, 20.0)
    assert np.flatnonzero(np.isnan(velocity)).tolist() == [300]
    assert np.delete(velocity, 300) == pytest.approx(6.2831853)
    for n_read in (0, 1):
        counts[n_read:] = np.nan
        assert np.isnan(wheel_velocity(time_s, counts, 1000, 20.0)).all()


def test_a_slope_takes_two_samples_on_each_side():
    """A camera just below 20 Hz in a window of 0.1 s: upstream's filter was all zero."""
    time_s = np.arange(200) / 19.97
    eye = sample_eye(eye_table(time_s, 20 + 3 * time_s), np.array([5.0]), 0.1)
    assert eye.dpupil[0] == pytest.approx(3.0)
