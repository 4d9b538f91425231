"""The monitor: power law, monotone pair, and the calibration nearest to a scan. C: mei.md; loop: closed_loop.md."""

import json
import runpy
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from damages import change_table
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from neurostatic.config import check_config
from neurostatic.data import read_scan
from neurostatic.data.calibration import (
    MonitorCalibration,
    closest_calibration,
    fit_calibrations,
    read_calibrations,
)
from neurostatic.data.gamma import fit_gamma, fit_residuals
from neurostatic.data.scans.remarks import find_remarks
from neurostatic.problems import InputError
from neurostatic.report.figures_stimuli import calibration_figure

CONFIG = {"scans": {"day1": "raw/day1"}, "datasets": {"mouse": ["day1"]}}
SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "calibrate_monitor.py"
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


def refusal(function, *args, **kwargs) -> str:
    """The message with which these arguments are refused."""
    with pytest.raises(InputError) as error:
        function(*args, **kwargs)
    return str(error.value)


def test_gamma_fit_recovers_a_power_law():
    """C26: exact data, to 1e-7 (the published search: 2.6e-3 of the amplitude)."""
    fit = fit_gamma(PIXELS, POWER_LAW)
    assert_allclose([fit.amplitude, fit.gamma, fit.offset], [2.6e-4, 2.1, 0.35], rtol=1e-7)
    assert fit.mse < 1e-15


def test_gamma_fit_of_perturbed_data_beats_the_published_search():
    """C26: 0.2 sin(3 i) added; mse 0.0231175, of the published search 0.0231184."""
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
        (
            PIXELS,
            np.full(18, 0.3),
            "1 problem\n  - no luminance measured: the mean step is 0 cd/m2, at least 0.05 is needed",
        ),
        (
            PIXELS,
            np.where(np.arange(18) == 3, np.nan, POWER_LAW),
            "1 problem\n  - row 5: luminance_cd_m2 is not a finite number",
        ),
        (
            PIXELS[:2],
            POWER_LAW[[0, -1]],
            "1 problem\n  - a gamma fit needs at least 3 different pixel values, none below 0; found 2, the lowest 0",
        ),
        (PIXELS[:1], POWER_LAW[:1], "1 problem\n  - found 1 row, at least 2 are needed"),
        (PIXELS, POWER_LAW[:-1], "18 pixel values but 17 luminances"),
    ],
)
def test_gamma_fit_refuses(pixels, luminance, said):
    assert refusal(fit_gamma, pixels, luminance) == f"gamma fit: {said}"


def test_residuals_are_of_each_level_and_make_the_mse():
    measured = pd.DataFrame(
        {"pixel_value": PIXELS, "luminance_cd_m2": POWER_LAW + 0.2 * np.sin(3 * np.arange(18)), "timestamp": "t"}
    )
    fit = fit_gamma(measured.pixel_value, measured.luminance_cd_m2)
    residuals = fit_residuals(measured, fit)
    assert list(residuals) == [*measured, "fitted_cd_m2", "residual_cd_m2"]
    assert_allclose(residuals.fitted_cd_m2, fit.amplitude * PIXELS**fit.gamma + fit.offset)
    assert_allclose(residuals.fitted_cd_m2 + residuals.residual_cd_m2, measured.luminance_cd_m2)
    assert np.mean(residuals.residual_cd_m2**2) == pytest.approx(fit.mse, rel=1e-9)
    assert residuals.residual_cd_m2.mean() == pytest.approx(0, abs=1e-9)  # the offset is free
    assert fit_residuals(measured, pd.Series(asdict(fit))).equals(residuals)


def test_figure_shows_measured_levels_power_law_and_residuals():
    measured = pd.DataFrame({"pixel_value": PIXELS, "luminance_cd_m2": POWER_LAW + 0.2 * np.sin(3 * np.arange(18))})
    fit = fit_gamma(measured.pixel_value, measured.luminance_cd_m2)
    figure = calibration_figure(measured, pd.Series(asdict(fit)), 10, 2)
    axis, residual_axis = figure.axes
    assert_array_equal(axis.lines[-1].get_xydata(), measured)
    shown = residual_axis.lines[-1].get_xydata()
    assert_allclose(shown[:, 1], fit_residuals(measured, fit).residual_cd_m2)
    assert residual_axis.get_title(loc="left") == "root mean square 0.15 cd/m²"
    exact = measured.assign(luminance_cd_m2=POWER_LAW)
    figure = calibration_figure(exact, pd.Series(asdict(fit_gamma(PIXELS, POWER_LAW))), 10, 2)
    assert figure.axes[1].get_ylim()[1] > 0.01  # cd/m2: rounding errors stay small


def test_published_cubic_pair():
    """C27, and loop 17: values of both splines, and how far they are from being inverse to each other."""
    cubic = MonitorCalibration(PIXELS, POWER_LAW, interpolation="cubic")
    assert_allclose(cubic.luminance([0, 128, 255]), [0.35, 7.270131, 29.774408], rtol=1e-6)
    assert cubic.pixel(10) == pytest.approx(149.960922, rel=1e-6)
    back = cubic.pixel(cubic.luminance(np.arange(256)))
    assert back[100] == pytest.approx(99.975089, rel=1e-6)
    assert back[3] == pytest.approx(0.505502, abs=1e-6)
    error = np.abs(back - np.arange(256))
    assert error.argmax() == 7
    assert error.max() == pytest.approx(3.460072, abs=1e-6)
    assert error[61:].max() == pytest.approx(0.287191, abs=1e-6)

    bright = MonitorCalibration(BRIGHT_PIXELS, BRIGHT, interpolation="cubic")
    expected = [0.4, 42.4, 13.413312, 3.989121, 28.189579]
    assert_allclose(bright.luminance([0, 255, 128, 60, 200]), expected, atol=1e-6)
    assert_allclose(bright.pixel([10, 20]), [107.028526, 162.868998], atol=3e-5)  # interp1d too: 107.028506
    assert bright.pixel(bright.luminance(7)) == pytest.approx(5.2021, abs=1e-4)


@pytest.mark.parametrize(
    ("pixels", "luminance"),
    [(PIXELS, POWER_LAW), (BRIGHT_PIXELS, BRIGHT), ([0, 255], [0, 80])],
)
def test_monotone_pair_is_exactly_inverse(pixels, luminance):
    """C27, loop 17: the default pair is a true inverse where the published one is off by up to 3.5 px."""
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


@st.composite
def measured_tables(draw):
    """A strictly increasing table over the whole range, and pixel values in between and at its levels."""
    between = draw(st.lists(st.integers(1, 254), unique=True, max_size=30))
    pixels = np.array([0, *sorted(between), 255], dtype=float)
    n_steps = len(pixels) - 1
    steps = draw(st.lists(st.floats(1e-3, 50), min_size=n_steps, max_size=n_steps))
    steps[draw(st.integers(0, n_steps - 1))] += 0.05 * n_steps  # light was measured
    luminance = draw(st.floats(0, 5)) + np.concatenate([[0.0], np.cumsum(steps)])
    asked = draw(st.lists(st.floats(0, 255), min_size=1, max_size=40))
    return pixels, luminance, np.array([*asked, *pixels])


@given(measured_tables())
def test_monotone_pair_of_any_increasing_table(measured):
    """luminance() does not fall, stays in range, and pixel() is its inverse; flat ends are known only by light."""
    pixels, luminance, asked = measured
    monitor = MonitorCalibration(pixels, luminance)
    rounding = 16 * np.spacing(luminance[-1])
    fine = np.linspace(-20, 275, 3001)
    shown = monitor.luminance(fine)
    assert (np.diff(shown) >= -rounding).all()
    assert (shown[fine <= 0] == monitor.darkest_cd_m2).all()
    assert_allclose(shown[fine >= 255], monitor.brightest_cd_m2, atol=rounding, rtol=0)
    assert_array_equal(monitor.pixel([-1e9, luminance[0] - 1e-6, luminance[-1] + 1e-6, 1e9]), [0, 0, 255, 255])
    back = monitor.pixel(monitor.luminance(asked))
    assert ((back >= 0) & (back <= 255)).all()
    # Where the curve is flat a pixel value is not to be told from its neighbors: there, the same light is enough.
    assert_allclose(monitor.luminance(back), monitor.luminance(asked), atol=rounding, rtol=0)
    step_px = 1e-3
    slope = (monitor.luminance(asked + step_px) - monitor.luminance(asked - step_px)) / (2 * step_px)
    steep = slope > 1e-4  # cd/m2 per px
    assert np.abs(back - asked)[steep].max(initial=0) < 1e-6


def test_every_broken_row_is_named():
    pixels, luminance = BRIGHT_PIXELS[1:].copy(), BRIGHT[1:].copy()
    pixels[4] = pixels[3]
    luminance[9] = luminance[8] - 0.1
    assert refusal(MonitorCalibration, pixels, luminance) == (
        "monitor calibration: 3 problems\n"
        "  - row 6: pixel_value 60 is not larger than 60 in row 5\n"
        f"  - row 11: luminance_cd_m2 {luminance[9]:g} is not larger than {luminance[8]:g} in row 10\n"
        "  - pixel_value must run from 0 to 255, not from 15 (row 2) to 255 (row 18)"
    )


def test_rows_of_a_table_are_those_of_its_file():
    measured = table(("2020-01-01", BRIGHT), ("2020-02-01", BRIGHT))
    measured.loc[20, "luminance_cd_m2"] = 0.0
    assert refusal(MonitorCalibration.from_table, measured.iloc[18:]) == (
        f"monitor_calibration.csv: 1 problem\n  - row 22: luminance_cd_m2 0 is not larger than {BRIGHT[1]:g} in row 21"
    )
    assert refusal(MonitorCalibration.from_table, measured[["timestamp"]]) == (
        "monitor_calibration.csv: 2 problems\n"
        "  - column 'pixel_value' is missing\n  - column 'luminance_cd_m2' is missing"
    )


@pytest.mark.parametrize(
    ("n_rows", "luminance", "interpolation", "said"),
    [
        (
            18,
            0.04 * np.arange(18),
            "pchip",
            "1 problem\n  - no luminance measured: the mean step is 0.04 cd/m2, at least 0.05 is needed",
        ),
        (
            18,
            np.where(np.arange(18) == 2, np.inf, BRIGHT),
            "pchip",
            "1 problem\n  - row 4: luminance_cd_m2 is not a finite number",
        ),
        (18, BRIGHT, "linear", "1 problem\n  - unknown interpolation 'linear'; allowed: pchip, cubic"),
        (1, BRIGHT, "pchip", "1 problem\n  - found 1 row, at least 2 are needed"),
        (0, BRIGHT, "pchip", "1 problem\n  - found 0 rows, at least 2 are needed"),
        (
            3,
            BRIGHT,
            "cubic",
            "2 problems\n  - pixel_value must run from 0 to 255, not from 0 (row 2) to 30 (row 4)\n"
            "  - cubic interpolation needs at least 4 rows, found 3",
        ),
        (
            18,
            BRIGHT[::-1],
            "pchip",
            "1 problem\n  - no luminance measured: the mean step is -2.47 cd/m2, at least 0.05 is needed",
        ),
    ],
)
def test_calibration_refuses(n_rows, luminance, interpolation, said):
    found = refusal(MonitorCalibration, BRIGHT_PIXELS[:n_rows], luminance[:n_rows], interpolation)
    assert found == f"monitor calibration: {said}"


def test_levels_in_another_order_are_told_from_a_dark_monitor():
    said = refusal(MonitorCalibration, BRIGHT_PIXELS[::-1], BRIGHT[::-1])
    assert "row 3: pixel_value 240 is not larger than 255 in row 2" in said and "no luminance" not in said
    downward = table(("2020-01-01", BRIGHT)).iloc[::-1].reset_index(drop=True)
    rows = closest_calibration(downward, "2020-01-01")[2]  # the order of the lines says nothing
    assert_array_equal(MonitorCalibration.from_table(rows).luminance_cd_m2, BRIGHT)


def test_closest_calibration_may_come_after_the_scan():
    """C38: 1.5 h before, or 1.341667 h after."""
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
    assert refusal(closest_calibration, measured.iloc[:18], "2020-01-01T12:00:00") == (
        "monitor calibration: none of 1 calibrations measured light (mean luminance step of at least 0.05 cd/m2)"
    )
    assert fit_calibrations(measured, "2020-01-01T12:00:00", None, measured.index).timestamp.tolist() == [
        "2020-01-03T12:00:00"
    ]


def test_closest_calibration_names_unreadable_and_mixed_timestamps():
    measured = table(("yesterday", BRIGHT[:2].repeat(9)), ("2020-01-03", BRIGHT))
    assert refusal(closest_calibration, measured.iloc[17:], "today") == (
        "monitor calibration: 2 problems\n"
        "  - row 19: timestamp 'yesterday' is not ISO 8601\n  - scan timestamp 'today' is not ISO 8601"
    )
    assert refusal(closest_calibration, table(("2020-01-03T00:00:00+01:00", BRIGHT)), "2020-01-01") == (
        "monitor calibration: 1 problem\n"
        "  - give a time zone for the scan and for every calibration, or for none of them"
    )
    assert refusal(closest_calibration, measured[["pixel_value"]], "2020-01-01") == (
        "monitor calibration: 2 problems\n  - column 'timestamp' is missing\n  - column 'luminance_cd_m2' is missing"
    )
    assert refusal(closest_calibration, measured.iloc[:0], "2020-01-01") == (
        "monitor calibration: 1 problem\n  - has no rows"
    )


def test_a_gap_beyond_the_limit_is_refused():
    measured = table(("2020-01-01T10:30:00", BRIGHT), ("2020-01-03T12:00:01", BRIGHT))
    scan = "2020-01-04T12:00:01"
    assert closest_calibration(measured, scan, max_gap_hours=24)[1] == 24
    assert refusal(closest_calibration, measured, "2020-01-04T12:00:02", max_gap_hours=24) == (
        "monitor calibration: the one nearest to the scan (2020-01-04T12:00:02) was measured at 2020-01-03T12:00:01, "
        "24.0003 h from it; allowed are at most 24 h (calibration.max_gap_hours)"
    )
    assert closest_calibration(measured, "2120-01-04T12:00:01")[1] > 870_000  # published: no limit


def of_two_rigs() -> pd.DataFrame:
    """Rig 2P4 an hour before and a day after the scan, rig 2P5 at the time of the scan."""
    parts = (("2P5", "2020-01-01T12:00:00", 2), ("2P4", "2020-01-02T12:00:00", 1), ("2P4", "2020-01-01T11:00:00", 0))
    tables = [table((time, BRIGHT + offset)).assign(rig=rig) for rig, time, offset in parts]
    return pd.concat(tables, ignore_index=True)


def test_only_calibrations_of_the_scans_rig_count():
    scan = "2020-01-01T12:00:00"
    timestamp, gap_hours, rows = closest_calibration(of_two_rigs(), scan, "2P4")
    assert (timestamp, gap_hours, rows.luminance_cd_m2.iloc[0]) == ("2020-01-01T11:00:00", 1.0, 0.4)
    assert closest_calibration(of_two_rigs(), scan, "2P5")[:2] == (scan, 0.0)
    at_once = of_two_rigs().assign(timestamp=scan)  # one time, two monitors
    assert closest_calibration(at_once.iloc[:36], scan, "2P4")[2].luminance_cd_m2.iloc[0] == 1.4
    one_monitor = table(("2020-01-01", BRIGHT))
    assert closest_calibration(one_monitor, scan, "2P9")[:2] == closest_calibration(one_monitor, scan)[:2]


def test_a_rig_that_is_not_in_the_table_is_refused():
    scan = "2020-01-01T12:00:00"
    start = "monitor calibration: 1 problem\n  - "
    allowed = "allowed is one of monitor_calibration.csv: 2P4, 2P5"
    assert refusal(closest_calibration, of_two_rigs(), scan) == f"{start}scan.yaml, key rig: is missing, {allowed}"
    assert refusal(closest_calibration, of_two_rigs(), scan, "2P6") == (
        f"{start}scan.yaml, key rig: found '2P6', {allowed}"
    )
    nameless = of_two_rigs().assign(rig=lambda rows: rows.rig.where(rows.index != 3))
    assert refusal(closest_calibration, nameless, scan, "2P4") == f"{start}row 5: rig is empty"
    dark = of_two_rigs().assign(luminance_cd_m2=lambda rows: rows.luminance_cd_m2.where(rows.rig == "2P5", 0.0))
    assert refusal(closest_calibration, dark, scan, "2P4") == (
        "monitor calibration of rig 2P4: none of 2 calibrations measured light "
        "(mean luminance step of at least 0.05 cd/m2)"
    )
    assert refusal(closest_calibration, of_two_rigs(), "2020-02-01", "2P5", 24).startswith(
        "monitor calibration of rig 2P5: the one nearest to the scan (2020-02-01) was measured at 2020-01-01T12:00:00"
    )


def test_every_calibration_is_fitted_and_one_is_chosen():
    chosen = closest_calibration(of_two_rigs(), "2020-01-01T12:00:00", "2P4")[2].index
    fits = fit_calibrations(of_two_rigs(), "2020-01-01T12:00:00", "2P4", chosen)
    assert list(fits) == ["timestamp", "rig", "amplitude", "gamma", "offset", "mse", "gap_hours", "chosen"]
    assert fits.timestamp.tolist() == ["2020-01-01T11:00:00", "2020-01-01T12:00:00", "2020-01-02T12:00:00"]
    assert fits.rig.tolist() == ["2P4", "2P5", "2P4"]
    assert fits.gap_hours.tolist() == [1, 0, 24] and fits.chosen.tolist() == [True, False, False]
    assert_allclose(fits.gamma, 1.7)
    assert_allclose(fits.offset, [0.4, 2.4, 1.4])
    alone = table(("2020-01-01", BRIGHT))
    assert "rig" not in fit_calibrations(alone, "2020-01-01", None, alone.index)
    few = alone.iloc[[0, 17]]
    assert refusal(fit_calibrations, few, "2020-01-01", None, few.index) == (
        "gamma fit of 2020-01-01: 1 problem\n"
        "  - a gamma fit needs at least 3 different pixel values, none below 0; found 2, the lowest 0"
    )


def test_a_file_is_read_with_its_lines(tmp_path):
    path = tmp_path / "monitor_calibration.csv"
    of_two_rigs().replace({"rig": {"2P4": "007", "2P5": "7"}}).to_csv(path, index=False)
    assert set(read_calibrations(path).rig) == {"007", "7"}  # text, whatever it looks like
    path.write_text(path.read_text().replace("\n", "\n\n", 1))
    assert read_calibrations(path).index[0] + 2 == 3
    path.write_text("timestamp,pixel_value\n2020-01-01,300\n")
    assert refusal(read_calibrations, path) == (
        "monitor calibration: 2 problems\n"
        "  - monitor_calibration.csv, column pixel_value, row 2: found '300', allowed is a number from 0 to 255\n"
        "  - monitor_calibration.csv: column 'luminance_cd_m2' is missing; found 'timestamp', 'pixel_value'"
    )
    assert refusal(read_calibrations, tmp_path / "none.csv").endswith("none.csv: no such file")


def change_rig(folder: Path, rig: object) -> None:
    info = yaml.safe_load((folder / "scan.yaml").read_text())
    (folder / "scan.yaml").write_text(yaml.safe_dump(info | {"rig": rig}))


def test_an_export_may_name_its_rig(exports, tmp_path):
    folder = shutil.copytree(exports["traces"], tmp_path / "scan")
    assert read_scan(folder).info["rig"] is None
    change_rig(folder, 4)
    assert read_scan(folder).info["rig"] == "4"
    change_table("monitor_calibration.csv", lambda rows: rows.assign(rig=4))(folder)
    scan = read_scan(folder)
    assert scan.info["rig"] == "4" and set(scan.monitor_calibration.rig) == {"4"}
    assert not [remark for remark in find_remarks(scan) if "rig" in remark]
    twice = lambda rows: pd.concat([rows, rows.assign(rig=5)])  # noqa: E731
    change_table("monitor_calibration.csv", twice)(folder)
    read_scan(folder)  # the same time and pixel values, on two monitors
    start = f"scan export {folder}: 1 problem\n  - "
    change_rig(folder, "2P4")
    allowed = "allowed is one of monitor_calibration.csv: 4, 5"
    assert refusal(read_scan, folder) == f"{start}scan.yaml, key rig: found '2P4', {allowed}"
    change_rig(folder, None)
    assert refusal(read_scan, folder) == f"{start}scan.yaml, key rig: is missing, {allowed}"
    change_rig(folder, [4])
    assert refusal(read_scan, folder) == f"{start}scan.yaml, key rig: found [4], allowed is some text"


def calibrate(folder: Path, **options) -> None:
    """Run the rule's script as Snakemake does."""
    inputs = SimpleNamespace(scan=str(folder / "verdict.json"), calibrations=str(folder / "monitor_calibration.csv"))

    class Inputs(list):
        scan, calibrations = inputs.scan, inputs.calibrations

    class Params(dict):
        calibration = asdict(check_config(CONFIG | {"calibration": options}).calibration)

    job = SimpleNamespace(
        input=Inputs([inputs.scan, inputs.calibrations]), params=Params(), rule="calibrate_monitor",
        output=SimpleNamespace(table=str(folder / "out/scan.csv"), fit=str(folder / "out/scan_fit.csv")),
        log=[str(folder / "out/log")],
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        runpy.run_path(str(SCRIPT), init_globals={"snakemake": job})


def test_the_rule_writes_the_choice_its_gap_and_its_residuals(tmp_path):
    log = tmp_path / "out/log"
    verdict = {"info": {"timestamp": "2020-01-01T12:00:00", "rig": "2P4"}}
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    of_two_rigs().to_csv(tmp_path / "monitor_calibration.csv", index=False)
    calibrate(tmp_path)
    fits = pd.read_csv(tmp_path / "out/scan_fit.csv")
    assert fits.loc[fits.chosen, ["timestamp", "rig", "gap_hours"]].values.tolist() == [
        ["2020-01-01T11:00:00", "2P4", 1.0]
    ]
    rows = pd.read_csv(tmp_path / "out/scan.csv")
    assert_allclose(rows.luminance_cd_m2, BRIGHT)
    assert_allclose(rows.residual_cd_m2, 0, atol=1e-9)
    assert "calibration of 2020-01-01T11:00:00, 1.0 h from the scan" in log.read_text()
    with pytest.raises(SystemExit):
        calibrate(tmp_path, max_gap_hours=0.5)
    assert "1 h from it; allowed are at most 0.5 h (calibration.max_gap_hours)" in log.read_text()
    falling = of_two_rigs()
    falling.loc[40, "luminance_cd_m2"] = 0.0
    falling.to_csv(tmp_path / "monitor_calibration.csv", index=False)
    with pytest.raises(SystemExit):
        calibrate(tmp_path)
    assert "row 42: luminance_cd_m2 0 is not larger than" in log.read_text()


def test_the_published_choice_has_no_limit():
    options = check_config(CONFIG).calibration
    assert (options.max_gap_hours, options.interpolation) == (np.inf, "pchip")
    said = refusal(check_config, CONFIG | {"calibration": {"max_gap_hours": -1, "interpolation": "linear"}})
    assert said == (
        "config: 2 problems\n  - calibration.max_gap_hours: -1.0 is below the least allowed value 0.0\n"
        "  - calibration.interpolation: 'linear' is not one of pchip, cubic"
    )
