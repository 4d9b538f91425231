"""From pixel value to luminance and back, by the monitor's measured table nearest in time to the scan."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.optimize import minimize_scalar

from neurostatic.store import InputError, report_problems

MAX_GAMMA = 20.0
MIN_MEAN_STEP_CD_M2 = 0.05  # below this the photometer saw no light: "no luminance measured"
HEADER_ROWS = 2  # a table's first row (index 0) is the second line of its CSV file
INTERPOLATIONS = ("pchip", "cubic")


@dataclass(frozen=True)
class GammaFit:
    """luminance = amplitude * pixel_value^gamma + offset (cd/m2), with the mean squared error of the fit."""

    amplitude: float
    gamma: float
    offset: float
    mse: float


def fit_gamma(pixel_value: np.ndarray, luminance_cd_m2: np.ndarray) -> GammaFit:
    """Power law of a monitor, by least squares with amplitude and offset >= 0 and 0 < gamma <= 20.

    luminance = amplitude * pixel_value^gamma + offset

    For each gamma the best amplitude and offset follow in closed form (variable projection), so one number is
    searched, without random restarts. Upstream's 200 restarts stop further from the optimum.

    Args:
        pixel_value, luminance_cd_m2: (level,) measured table.

    Raises:
        InputError: unreadable values, fewer than 3 pixel values, or a mean luminance step below 0.05 cd/m2.

    Source: ProcessedMonitorCalibration.GammaFit.
    """
    pixel_value, luminance = _as_columns(pixel_value, luminance_cd_m2)
    problems = _value_problems(pixel_value, luminance, np.arange(len(pixel_value)) + HEADER_ROWS)
    if not problems and (len(np.unique(pixel_value)) < 3 or pixel_value.min() < 0):
        problems.append("a gamma fit needs at least 3 different pixel values, none below 0")
    report_problems("gamma fit", problems)

    largest = pixel_value.max()  # scaled to 0..1, so that amplitude and offset are of one size

    def project(gamma: float) -> tuple[float, float, float]:
        return _best_line((pixel_value / largest) ** gamma, luminance)

    grid = np.linspace(MAX_GAMMA / 400, MAX_GAMMA, 400)
    best = grid[np.argmin([project(gamma)[0] for gamma in grid])]
    bounds = (max(best - grid[0], 1e-6), min(best + grid[0], MAX_GAMMA))
    precision = {"xatol": 1e-12}
    refined = minimize_scalar(lambda g: project(g)[0], bounds=bounds, method="bounded", options=precision)
    gamma = min((best, refined.x), key=lambda g: project(g)[0])
    mse, amplitude, offset = project(gamma)
    return GammaFit(float(amplitude / largest**gamma), float(gamma), float(offset), float(mse))


def _best_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Least squares y = slope * x + offset, both >= 0; (mean squared error, slope, offset)."""
    spread = x - x.mean()
    slope = spread @ y / (spread @ spread)
    # With two unknowns the constrained optimum is the free one, or lies on one of the two borders.
    borders = [(0.0, max(y.mean(), 0.0)), (max(x @ y / (x @ x), 0.0), 0.0)]
    lines = [(slope, y.mean() - slope * x.mean()), *borders]
    return min((np.mean((a * x + c - y) ** 2), a, c) for a, c in lines if a >= 0 and c >= 0)


class MonitorCalibration:
    """Measured table of a monitor as a pair of functions: pixel value (0 to 255) <-> luminance (cd/m2).

    interpolation "pchip" (default) is a monotone curve and its true inverse. "cubic" is the published pair:
    two independent cubic splines, which are not inverse to each other near black (up to 3.5 px).

    Args:
        pixel_value, luminance_cd_m2: (level,) measured table, both strictly increasing, from 0 to 255.
        interpolation: "pchip" or "cubic".
        file_rows: (level,) line numbers of the table in its file, for messages; 2, 3, ... by default.
        source: name of the table, for messages.

    Raises:
        InputError: every row that breaks a rule.

    Source: ProcessedMonitorCalibration (get_interp).
    """

    def __init__(
        self,
        pixel_value: np.ndarray,
        luminance_cd_m2: np.ndarray,
        interpolation: str = "pchip",
        file_rows: np.ndarray | None = None,
        source: str = "monitor calibration",
    ):
        pixel_value, luminance = _as_columns(pixel_value, luminance_cd_m2)
        rows = np.arange(len(pixel_value)) + HEADER_ROWS if file_rows is None else np.asarray(file_rows)
        measured = pixel_value, luminance, rows
        problems = _value_problems(*measured) or _curve_problems(*measured)
        if interpolation not in INTERPOLATIONS:
            problems.append(f"unknown interpolation '{interpolation}'; allowed: {', '.join(INTERPOLATIONS)}")
        elif interpolation == "cubic" and len(pixel_value) < 4:
            problems.append(f"cubic interpolation needs at least 4 rows, found {len(pixel_value)}")
        report_problems(source, problems)

        self.pixel_value = pixel_value
        self.luminance_cd_m2 = luminance
        self.interpolation = interpolation
        if interpolation == "cubic":
            self._curve = CubicSpline(pixel_value, luminance)
            self._inverse = CubicSpline(luminance, pixel_value)
        else:
            self._curve = PchipInterpolator(pixel_value, luminance)
            self._inverse = self._solve
        self._slope = self._curve.derivative()

    @classmethod
    def from_table(
        cls, table: pd.DataFrame, interpolation: str = "pchip", source: str = "monitor_calibration.csv"
    ) -> "MonitorCalibration":
        """Calibration from columns pixel_value and luminance_cd_m2; the index is the place in the file."""
        missing = [name for name in ("pixel_value", "luminance_cd_m2") if name not in table.columns]
        report_problems(source, [f"column '{name}' is missing" for name in missing])
        rows = table.index.to_numpy() + HEADER_ROWS
        return cls(table["pixel_value"], table["luminance_cd_m2"], interpolation, rows, source)

    @property
    def darkest_cd_m2(self) -> float:
        """Luminance at pixel value 0."""
        return float(self.luminance_cd_m2[0])

    @property
    def brightest_cd_m2(self) -> float:
        """Luminance at pixel value 255."""
        return float(self.luminance_cd_m2[-1])

    def luminance(self, pixel_value: np.ndarray) -> np.ndarray:
        """Luminance (cd/m2) of pixel values of any shape; values outside 0..255 are clipped."""
        return self._curve(np.clip(np.asarray(pixel_value, dtype=float), 0, 255))

    def pixel(self, luminance_cd_m2: np.ndarray) -> np.ndarray:
        """Pixel value (0 to 255, not rounded) of luminances of any shape, clipped to the monitor's range."""
        luminance = np.asarray(luminance_cd_m2, dtype=float)
        luminance = np.clip(luminance, self.darkest_cd_m2, self.brightest_cd_m2)
        return np.clip(self._inverse(luminance), 0, 255)

    def _solve(self, luminance: np.ndarray) -> np.ndarray:
        """Invert the monotone curve: Newton's steps, replaced by bisection when they leave the bracket."""
        piece = np.searchsorted(self.luminance_cd_m2, luminance, side="right") - 1
        piece = np.clip(piece, 0, len(self.luminance_cd_m2) - 2)
        low, high = self.pixel_value[piece], self.pixel_value[piece + 1]
        pixel = np.interp(luminance, self.luminance_cd_m2, self.pixel_value)
        for _ in range(100):
            excess = self._curve(pixel) - luminance
            low = np.where(excess <= 0, pixel, low)
            high = np.where(excess >= 0, pixel, high)
            with np.errstate(divide="ignore", invalid="ignore"):  # slope 0 at black: bisect there
                newton = pixel - excess / self._slope(pixel)
            update = np.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
            change = np.max(np.abs(update - pixel), initial=0.0)
            pixel = update
            if change < 1e-10:
                break
        return pixel


def closest_calibration(
    table: pd.DataFrame,
    scan_timestamp: str | datetime,
) -> tuple[str, float, pd.DataFrame]:
    """The calibration measured nearest in time to a scan, before or after it; on a tie the earlier one.

    Calibrations that measured no light (mean luminance step below 0.05 cd/m2) are passed over.

    Args:
        table: columns timestamp (ISO 8601, one per calibration), pixel_value, luminance_cd_m2.
        scan_timestamp: ISO 8601, or a datetime; with a time zone exactly if the table's timestamps have one.

    Returns:
        (timestamp as written in the table, distance in hours (whole seconds / 3600), rows of that
        calibration).

    Raises:
        InputError: unreadable timestamps, missing columns, or no calibration that measured light.

    Source: ClosestCalibration.
    """
    missing = [n for n in ("timestamp", "pixel_value", "luminance_cd_m2") if n not in table.columns]
    report_problems("monitor calibration", [f"column '{name}' is missing" for name in missing])
    scan_time = _parse_time(scan_timestamp)
    times = [_parse_time(text) for text in table["timestamp"]]
    rows = table.index.to_numpy() + HEADER_ROWS
    problems = []
    for row, text, time in zip(rows, table["timestamp"], times, strict=True):
        if time is None:
            problems.append(f"row {row}: timestamp '{text}' is not ISO 8601")
    if scan_time is None:
        problems.append(f"scan timestamp '{scan_timestamp}' is not ISO 8601")
    elif not problems and {time.tzinfo is None for time in times} - {scan_time.tzinfo is None}:
        problems.append("give a time zone for the scan and for every calibration, or for none of them")
    report_problems("monitor calibration", problems)

    candidates = []
    for time in sorted(set(times)):
        measured = table[[other == time for other in times]]
        # Unreadable numbers (NaN) stay in: MonitorCalibration names their rows.
        if not _mean_step(measured["luminance_cd_m2"].to_numpy()) < MIN_MEAN_STEP_CD_M2:
            gap_hours = int(abs((scan_time - time).total_seconds())) / 3600
            candidates.append((gap_hours, measured))
    if not candidates:
        raise InputError(
            f"monitor calibration: none of {len(set(times))} calibrations measured light "
            f"(mean luminance step of at least {MIN_MEAN_STEP_CD_M2} cd/m2)"
        )
    gap_hours, measured = min(candidates, key=lambda candidate: candidate[0])  # on a tie the first, earlier
    return str(measured["timestamp"].iloc[0]), gap_hours, measured


def fit_calibrations(table: pd.DataFrame) -> pd.DataFrame:
    """ProcessedMonitorCalibration: the power law of every calibration of a table.

    Args:
        table: timestamp, pixel_value, luminance_cd_m2.

    Returns:
        timestamp, amplitude, gamma, offset, mse, one row a timestamp.
    """
    fits = []
    for timestamp, rows in table.groupby("timestamp", sort=True):
        fit = fit_gamma(rows.pixel_value.to_numpy(), rows.luminance_cd_m2.to_numpy())
        fits.append({"timestamp": timestamp, **dataclasses.asdict(fit)})
    return pd.DataFrame(fits)


def _parse_time(text: str | datetime) -> datetime | None:
    if isinstance(text, datetime):
        return text
    try:
        return datetime.fromisoformat(str(text).strip())
    except ValueError:
        return None


def _mean_step(luminance: np.ndarray) -> float:
    steps = np.diff(_numbers(luminance))
    return float(steps.mean()) if len(steps) else 0.0


def _as_columns(pixel_value: np.ndarray, luminance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixel_value, luminance = _numbers(pixel_value), _numbers(luminance)
    counts = len(pixel_value), len(luminance)
    if counts[0] != counts[1]:
        raise InputError(f"monitor calibration: {counts[0]} pixel values but {counts[1]} luminances")
    return pixel_value, luminance


def _numbers(values: np.ndarray) -> np.ndarray:
    """As floats; what cannot be read as a number is NaN."""
    return pd.to_numeric(pd.Series(np.asarray(values)), errors="coerce").to_numpy(dtype=float)


def _value_problems(pixel_value: np.ndarray, luminance: np.ndarray, rows: np.ndarray) -> list[str]:
    problems = []
    for name, values in (("pixel_value", pixel_value), ("luminance_cd_m2", luminance)):
        problems += [f"row {row}: {name} is not a finite number" for row in rows[~np.isfinite(values)]]
    if not problems and _mean_step(luminance) < MIN_MEAN_STEP_CD_M2:
        problems.append(
            f"no luminance measured: the mean step is {_mean_step(luminance):.3g} cd/m2, "
            f"at least {MIN_MEAN_STEP_CD_M2} is needed"
        )
    return problems


def _curve_problems(pixel_value: np.ndarray, luminance: np.ndarray, rows: np.ndarray) -> list[str]:
    problems = []
    for name, values in (("pixel_value", pixel_value), ("luminance_cd_m2", luminance)):
        for i in np.flatnonzero(np.diff(values) <= 0) + 1:
            before = f"{values[i - 1]:g} in row {rows[i - 1]}"
            problems.append(f"row {rows[i]}: {name} {values[i]:g} is not larger than {before}")
    if pixel_value[0] != 0 or pixel_value[-1] != 255:
        problems.append(
            f"pixel_value must run from 0 to 255, not from {pixel_value[0]:g} (row {rows[0]}) "
            f"to {pixel_value[-1]:g} (row {rows[-1]})"
        )
    return problems
