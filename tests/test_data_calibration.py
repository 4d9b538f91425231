import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neurostatic.data.calibration import MonitorCalibration, closest_calibration, fit_gamma
from neurostatic.store import InputError

PIXELS = np.linspace(0, 255, 18)
POWER_LAW = 2.6e-4 * PIXELS**2.1 + 0.35
BRIGHT_PIXELS = np.arange(0, 256, 15)
BRIGHT = 0.4 + 42 * (BRIGHT_PIXELS / 255) ** 1.7


def table(*timed: tuple[str, np.ndarray]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"timestamp": time, "pixel_value": BRIGHT_PIXELS, "luminance_cd_m2": luminance})
        for time, luminance in timed
    ]
    return pd.concat(parts, ignore_index=True)


def test_gamma_fit_recovers_a_power_law():
    fit = fit_gamma(PIXELS, POWER_LAW)
    assert_allclose([fit.amplitude, fit.gamma, fit.offset], [2.6e-4, 2.1, 0.35], rtol=1e-7)
    assert fit.mse < 1e-15


def test_gamma_fit_of_perturbed_data_beats_the_published_search():
    luminance = POWER_LAW + 0.2 * np.sin(3 * np.arange(18))
    fit = fit_gamma(PIXELS, luminance)
    assert_allclose([fit.amplitude, fit.gamma, fit.offset], [2.53387e-4, 2.104814, 0.358750], rtol=1e-5)
    assert fit.mse == pytest.approx(0.0231175, abs=5e-8)
    assert fit.mse <= 0.0231184
    predicted = fit.amplitude * PIXELS**fit.gamma + fit.offset
    assert fit.mse == pytest.approx(np.mean((predicted - luminance) ** 2), rel=1e-9)


def test_gamma_fit_keeps_the_offset_at_or_above_zero():
    fit = fit_gamma(PIXELS, 2.6e-4 * PIXELS**2.1 - 2.0)
    assert fit.offset == 0 and fit.amplitude > 0


@pytest.mark.parametrize(
    ("pixels", "luminance", "said"),
    [
        (PIXELS, np.full(18, 0.3), "no luminance measured"),
        (PIXELS, np.where(np.arange(18) == 3, np.nan, POWER_LAW), "row 5: luminance_cd_m2"),
        (PIXELS[:2], POWER_LAW[[0, -1]], "at least 3"),
        (PIXELS, POWER_LAW[:-1], "18 pixel values but 17 luminances"),
    ],
)
def test_gamma_fit_refuses(pixels, luminance, said):
    with pytest.raises(InputError, match=said):
        fit_gamma(pixels, luminance)


def test_published_cubic_pair():
    cubic = MonitorCalibration(PIXELS, POWER_LAW, interpolation="cubic")
    assert_allclose(cubic.luminance([0, 128, 255]), [0.35, 7.270131, 29.774408], rtol=1e-6)
    assert cubic.pixel(10) == pytest.approx(149.960922, rel=1e-6)
    back = cubic.pixel(cubic.luminance(np.arange(256)))
    assert back[100] == pytest.approx(99.975089, rel=1e-6)
    assert back[3] == pytest.approx(0.505502, rel=1e-5)
    error = np.abs(back - np.arange(256))
    assert error.argmax() == 7
    assert error.max() == pytest.approx(3.460072, rel=1e-5)
    assert error[61:].max() == pytest.approx(0.287191, rel=1e-5)

    bright = MonitorCalibration(BRIGHT_PIXELS, BRIGHT, interpolation="cubic")
    expected = [0.4, 42.4, 13.413312, 3.989121, 28.189579]
    assert_allclose(bright.luminance([0, 255, 128, 60, 200]), expected, rtol=1e-5)
    assert_allclose(bright.pixel([10, 20]), [107.028526, 162.868998], rtol=1e-5)
    assert bright.pixel(bright.luminance(7)) == pytest.approx(5.2021, rel=1e-4)


@pytest.mark.parametrize(
    ("pixels", "luminance"),
    [(PIXELS, POWER_LAW), (BRIGHT_PIXELS, BRIGHT), ([0, 255], [0, 80])],
)
def test_monotone_pair_is_exactly_inverse(pixels, luminance):
    monitor = MonitorCalibration(pixels, luminance)
    fine = np.linspace(0, 255, 20001)
    shown = monitor.luminance(fine)
    assert (np.diff(shown) > 0).all()
    assert np.abs(monitor.pixel(shown) - fine).max() < 1e-6
    assert_allclose(monitor.luminance(pixels), luminance, rtol=1e-12)
    assert monitor.pixel(monitor.luminance(np.full((3, 4), 7.0))) == pytest.approx(np.full((3, 4), 7.0))


def test_out_of_range_is_clipped_to_the_monitor():
    monitor = MonitorCalibration(PIXELS, POWER_LAW)
    assert_allclose(monitor.pixel([-1, 1000]), [0, 255])
    assert_allclose(monitor.luminance([-5, 300]), [monitor.darkest_cd_m2, monitor.brightest_cd_m2])


def test_every_broken_row_is_named():
    pixels, luminance = BRIGHT_PIXELS[1:].copy(), BRIGHT[1:].copy()
    pixels[4] = pixels[3]
    luminance[9] = luminance[8] - 0.1
    with pytest.raises(InputError) as error:
        MonitorCalibration(pixels, luminance)
    message = str(error.value)
    assert "3 problems" in message
    assert "row 6: pixel_value 60 is not larger than 60 in row 5" in message
    assert "row 11: luminance_cd_m2" in message
    assert "from 0 to 255, not from 15 (row 2) to 255 (row 18)" in message


def test_rows_of_a_table_are_those_of_its_file():
    measured = table(("2020-01-01", BRIGHT), ("2020-02-01", BRIGHT))
    measured.loc[20, "luminance_cd_m2"] = 0.0
    with pytest.raises(InputError, match="row 22: luminance_cd_m2 0 is not larger than"):
        MonitorCalibration.from_table(measured.iloc[18:])
    with pytest.raises(InputError, match="column 'pixel_value' is missing"):
        MonitorCalibration.from_table(measured[["luminance_cd_m2"]])


@pytest.mark.parametrize(
    ("luminance", "interpolation", "said"),
    [
        (0.04 * np.arange(18), "pchip", "no luminance measured: the mean step is 0.04"),
        (
            np.where(np.arange(18) == 2, np.inf, BRIGHT),
            "pchip",
            "row 4: luminance_cd_m2 is not a finite number",
        ),
        (BRIGHT, "linear", "allowed: pchip, cubic"),
    ],
)
def test_calibration_refuses(luminance, interpolation, said):
    with pytest.raises(InputError, match=said):
        MonitorCalibration(BRIGHT_PIXELS, luminance, interpolation)


def test_closest_calibration_may_come_after_the_scan():
    measured = table(("2020-01-01T10:30:00", BRIGHT), ("2020-01-01T13:20:30", BRIGHT + 1))
    timestamp, gap_hours, chosen = closest_calibration(measured, "2020-01-01T12:00:00")
    assert timestamp == "2020-01-01T13:20:30"
    assert gap_hours == pytest.approx(1.341667, abs=1e-6)
    assert_array_equal(chosen["luminance_cd_m2"], BRIGHT + 1)
    assert MonitorCalibration.from_table(chosen).darkest_cd_m2 == pytest.approx(1.4)


def test_closest_calibration_tie_goes_to_the_earlier_whatever_the_order_of_rows():
    after_first = table(("2020-01-01T13:00:00", BRIGHT), ("2020-01-01T11:00:00", BRIGHT))
    assert closest_calibration(after_first, "2020-01-01 12:00:00")[:2] == ("2020-01-01T11:00:00", 1.0)


def test_closest_calibration_passes_over_one_that_measured_no_light():
    measured = table(("2020-01-01T12:00:00", np.full(18, 0.2)), ("2020-01-03T12:00:00", BRIGHT))
    assert closest_calibration(measured, "2020-01-01T12:00:00")[:2] == ("2020-01-03T12:00:00", 48.0)
    with pytest.raises(InputError, match="none of 1 calibrations measured light"):
        closest_calibration(measured.iloc[:18], "2020-01-01T12:00:00")


def test_closest_calibration_names_unreadable_and_mixed_timestamps():
    measured = table(("yesterday", BRIGHT[:2].repeat(9)), ("2020-01-03", BRIGHT))
    with pytest.raises(InputError, match=r"(?s)row 2: timestamp 'yesterday'.*scan timestamp 'today'"):
        closest_calibration(measured, "today")
    with pytest.raises(InputError, match="time zone"):
        closest_calibration(table(("2020-01-03T00:00:00+01:00", BRIGHT)), "2020-01-01")
    with pytest.raises(InputError, match="column 'timestamp' is missing"):
        closest_calibration(measured.drop(columns="timestamp"), "2020-01-01")
