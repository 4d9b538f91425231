import numpy as np
import pytest

from neurostatic.data.responses import (
    depth_count,
    fill_nans,
    flips_recorded,
    interpolate,
    lowpass_filter,
    presentation_duration,
    sample_responses,
    smooth,
)

NAN = np.nan


def test_lowpass_taps():  # G1
    side = [0.0181818, 0.0488025, 0.1227273, 0.1966521]
    assert lowpass_filter(0.5, 0.125) == pytest.approx([*side, 0.2272727, *side[::-1]], abs=1e-6)
    assert lowpass_filter(0.5, 1 / 7.97)[:4] == pytest.approx([0.0240964, 0.0933735, 0.2319277, 0.3012048], abs=1e-6)
    assert lowpass_filter(0.5, 0.5) == pytest.approx([0.0689655, 0.862069, 0.0689655], abs=1e-6)
    assert lowpass_filter(0.5, 0.6).tolist() == [1.0]


@pytest.mark.parametrize(
    ("period_s", "n_taps"),
    [(0.125, 9), (1 / 7.97, 7), (0.1, 9), (0.05, 19), (0.01, 99), (1 / 30, 31), (1 / 15, 15)],
)
def test_lowpass_length_and_sum(period_s, n_taps):  # G1
    taps = lowpass_filter(0.5, period_s)
    assert len(taps) == n_taps
    assert taps.sum() == pytest.approx(1)


def test_response_is_read_at_the_delayed_time_of_each_unit():  # G3
    volumes_s = (10 + np.arange(300) * 0.125 / 3)[::3]
    delay_s = np.array([0.0, 0.04])
    traces = 2 + 3 * (volumes_s + delay_s[:, None])
    onsets_s = np.array([13.0, 14.0, 14.8, 14.7])
    responses = sample_responses(traces, volumes_s, delay_s, onsets_s + 0.3, 0.5)
    assert responses == pytest.approx(np.array([[41.9, 44.9, 47.3, 47.0]] * 2).T, abs=1e-5)
    wrong = sample_responses(traces, volumes_s, 0 * delay_s, onsets_s + 0.3, 0.5)  # delay forgotten
    assert wrong[:, 1] == pytest.approx(responses[:, 1] + 0.12, abs=1e-5)


def test_response_to_an_impulse():  # G4
    volumes_s = np.arange(160) * 0.125
    traces = np.zeros((1, 160))
    traces[0, 80] = 1
    onsets_s = np.array([9.7625, 9.5, 9.0, 10.5])
    responses = sample_responses(traces, volumes_s, np.array([0.0625]), onsets_s + 0.3, 0.5)
    assert responses[:, 0] == pytest.approx([0.2272727, 0.1153348, 0, 0], abs=1e-6)


def test_ends_of_a_recording_give_no_response():  # G5
    filtered = smooth(np.ones(100), lowpass_filter(0.5, 0.125))
    assert filtered[:5] == pytest.approx([0.6136364, 0.8102884, 0.9330157, 0.9818182, 1.0], abs=1e-6)
    volumes_s = np.arange(100) * 0.125
    queries_s = np.array([-0.1, 0.1, 0.49, 0.5, 5.0, 95 * 0.125, 95 * 0.125 + 0.01, 99 * 0.125, 99, NAN])
    responses = sample_responses(np.ones((1, 100)), volumes_s, np.zeros(1), queries_s, 0.5)[:, 0]
    assert responses[3:6] == pytest.approx(1)
    assert np.isnan(np.delete(responses, [3, 4, 5])).all()


def test_units_are_chosen_in_order_beyond_one_block():
    rng = np.random.default_rng(0)
    traces = rng.random((150, 60))
    times_s = np.arange(60) * 0.125
    rows = rng.permutation(150)[:100]
    responses = sample_responses(traces, times_s, np.zeros(100), np.array([3.0]), 0.5, rows)
    assert responses[0] == pytest.approx(smooth(traces, lowpass_filter(0.5, 0.125))[rows, 24], rel=1e-6)


def test_trace_with_nans_is_filled_and_lengths_may_differ_by_one():
    trace = np.linspace(0, 1, 80)
    holes = trace.copy()
    holes[[20, 21, 40]] = NAN
    times_s = np.arange(81) * 0.125
    query_s = np.array([2.6, 5.0])
    both = sample_responses(np.stack([trace, holes]), times_s, np.zeros(2), query_s, 0.5)
    assert both[:, 0] == pytest.approx(both[:, 1], abs=1e-6)
    assert (sample_responses(np.full((1, 80), NAN), times_s, np.zeros(1), query_s, 0.5) == 0).all()


def test_fill_nans():  # G6
    signal = np.array([1, NAN, 3, NAN, NAN, 6, NAN, NAN, NAN, 10, 11, NAN, NAN])
    kept = signal.copy()
    filled = fill_nans(signal, 3)
    assert filled == pytest.approx([1, 2, 3, 4, 5, 6, NAN, NAN, NAN, 10, 11, 11, 11], nan_ok=True)
    assert np.array_equal(signal, kept, equal_nan=True)  # upstream changed its argument
    assert fill_nans([NAN, NAN, 2, 3], 3).tolist() == [2, 2, 2, 3]
    assert np.isnan(fill_nans([NAN, NAN, NAN, 4, 5], 3)).tolist() == [True, True, True, False, False]
    assert np.isnan(fill_nans([NAN] * 4, 3)).all()
    assert fill_nans([NAN, 1, NAN, NAN, 4, NAN]).tolist() == [1, 1, 2, 3, 4, 4]
    assert fill_nans([NAN, NAN]).tolist() == [0, 0]


def test_interpolate_never_bridges_a_bad_sample():
    times = np.array([0.0, 1, 2, 3, NAN, 5, 6])
    values = np.array([0.0, 10, NAN, 30, 40, 50, 60])
    queries = [0.5, 1, 1.01, 2, 2.99, 3, 3.5, 4.5, 5, 5.5, 6, -0.01, 6.01, NAN]
    expected = [5, 10, NAN, NAN, NAN, 30, NAN, NAN, 50, 55, 60, NAN, NAN, NAN]
    assert interpolate(times, values, queries) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(interpolate(times, np.full(7, NAN), queries)).all()


def test_depths_within_tolerance_are_one():
    assert depth_count([200.0, 200.0, 300.0, 300.4, 250.0]) == 3
    assert depth_count([200.0]) == 1


def test_flips_must_be_there_and_recorded():
    flips = np.array([[1, 2, 3], [0, 2, 3], [8, 9, 11], [4, NAN, 5], [4, 5, NAN], [4, 5, 6.0]])
    assert flips_recorded(flips, 0.5, 10.0).tolist() == [True, False, False, False, False, True]
    flips[:, 2] = NAN  # a scan with two flips a trial
    assert flips_recorded(flips, 0.5, 10.0).tolist() == [True, False, True, False, True, True]
    flips[:, 0] = NAN
    assert not flips_recorded(flips, 0.5, 10.0).any()


def test_presentation_ends_with_its_flip_or_the_next_blank():
    flips = np.array([[0, 0.4, 0.9], [0.9, 1.3, 1.8], [1.8, NAN, 2.7], [2.7, 3.1, 3.6]])
    every = np.ones(4, bool)
    assert presentation_duration(flips, every) == pytest.approx(0.5)
    flips[:, 2] = NAN
    assert presentation_duration(flips[:2], every[:2]) == pytest.approx(0.5)
    others = np.array([True, False] * 10)  # the next blank is that of the next trial, wanted or not
    blank_s = 0.9 * np.arange(20.0)
    two_flips = np.column_stack([blank_s, blank_s + 0.4, np.full(20, NAN)])
    assert presentation_duration(two_flips, others) == pytest.approx(0.5)
