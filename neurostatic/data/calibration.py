"""From pixel value to luminance and back, by the monitor's measured table nearest in time to the scan."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline, PchipInterpolator

from neurostatic.data.gamma import (
    HEADER_ROWS,
    MIN_MEAN_STEP_CD_M2,
    fit_gamma,
    mean_step,
    measured_columns,
    value_problems,
)
from neurostatic.data.scans.checks import rig_problems
from neurostatic.data.scans.contract import MONITOR_CALIBRATION
from neurostatic.data.scans.tables import read_columns
from neurostatic.problems import InputError, report_problems

INTERPOLATIONS = ("pchip", "cubic")


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
        measured = measured_columns(pixel_value, luminance_cd_m2, file_rows, source)
        problems = value_problems(*measured) or _curve_problems(*measured)
        pixel_value, luminance, _ = measured
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
        """Calibration from columns pixel_value and luminance_cd_m2; the index is the place in the file.

        Raises InputError as the class, and for a missing column.
        """
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
        low = np.where(luminance >= self.luminance_cd_m2[piece + 1], high, low)  # a measured level is known exactly,
        high = np.where(luminance <= self.luminance_cd_m2[piece], low, high)  # where the curve ends flat, too
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


def read_calibrations(path: str | Path) -> pd.DataFrame:
    """The calibrations of a monitor_calibration.csv, indexed by their place in the file.

    Raises InputError that lists every missing column and every value that is not allowed.
    """
    problems: list[str] = [] if Path(path).is_file() else [f"{path}: no such file"]
    table = read_columns(Path(path), MONITOR_CALIBRATION, problems)
    if table is not None:
        table = table.set_axis(table.index - HEADER_ROWS)
    report_problems("monitor calibration", problems)
    return table


@dataclass(frozen=True)
class _Measurement:
    """One calibration of a table: its timestamp as written there, its distance to the scan, its rows by pixel value."""

    timestamp: str
    rig: str | None
    gap_hours: float
    rows: pd.DataFrame

    @property
    def is_dark(self) -> bool:
        """No light was measured. Unreadable numbers (NaN) are not dark: MonitorCalibration names their rows."""
        return mean_step(self.rows["pixel_value"], self.rows["luminance_cd_m2"]) < MIN_MEAN_STEP_CD_M2


def closest_calibration(
    table: pd.DataFrame,
    scan_timestamp: str | datetime,
    rig: str | None = None,
    max_gap_hours: float = np.inf,
) -> tuple[str, float, pd.DataFrame]:
    """The calibration of the scan's rig nearest in time to it, before or after; on a tie the earlier one.

    gap = |scan - calibration| in hours (whole seconds / 3600)

    Calibrations that measured no light (mean luminance step below 0.05 cd/m2) are passed over. A table without a
    column rig is of one monitor, that of the scan, whatever its rig is called.

    Args:
        table: columns timestamp (ISO 8601, one per calibration), pixel_value, luminance_cd_m2; and rig, if it is of
            several monitors.
        scan_timestamp: ISO 8601, or a datetime; with a time zone exactly if the table's timestamps have one.
        rig: where the scan was recorded.
        max_gap_hours: largest gap that is allowed; the published choice has no limit.

    Returns:
        (timestamp as written in the table, gap in hours, rows of that calibration by pixel value).

    Raises:
        InputError: unreadable timestamps, missing columns, a rig that is not in the table, no calibration that
            measured light, or one that is too far from the scan.

    Source: ClosestCalibration.
    """
    own = [one for one in _measurements(table, scan_timestamp, rig) if one.rig in (None, rig)]
    where = f"monitor calibration of rig {rig}" if own[0].rig else "monitor calibration"
    candidates = [one for one in own if not one.is_dark]
    if not candidates:
        raise InputError(
            f"{where}: none of {len(own)} calibrations measured light "
            f"(mean luminance step of at least {MIN_MEAN_STEP_CD_M2} cd/m2)"
        )
    nearest = min(candidates, key=lambda one: one.gap_hours)  # on a tie the first, earlier
    if nearest.gap_hours > max_gap_hours:
        raise InputError(
            f"{where}: the one nearest to the scan ({scan_timestamp}) was measured at {nearest.timestamp}, "
            f"{nearest.gap_hours:.6g} h from it; allowed are at most {max_gap_hours:g} h (calibration.max_gap_hours)"
        )
    return nearest.timestamp, nearest.gap_hours, nearest.rows


def fit_calibrations(
    table: pd.DataFrame, scan_timestamp: str | datetime, rig: str | None, chosen: pd.Index
) -> pd.DataFrame:
    """The power law of every calibration that measured light.

    Args:
        table, scan_timestamp, rig: as for closest_calibration; chosen: index of the rows that it gave.

    Returns:
        timestamp, rig (if the table has it), amplitude, gamma, offset, mse, gap_hours, chosen; a row a calibration,
        by time, those of other rigs too.

    Raises:
        InputError: unreadable tables as closest_calibration, and as fit_gamma.

    Source: ProcessedMonitorCalibration.
    """
    fits = []
    for one in _measurements(table, scan_timestamp, rig):
        if not one.is_dark:
            columns = one.rows["pixel_value"], one.rows["luminance_cd_m2"]
            fit = fit_gamma(*columns, one.rows.index + HEADER_ROWS, f"gamma fit of {one.timestamp}")
            place = {"timestamp": one.timestamp} if one.rig is None else {"timestamp": one.timestamp, "rig": one.rig}
            found = {"gap_hours": one.gap_hours, "chosen": one.rows.index.equals(chosen)}
            fits.append(place | dataclasses.asdict(fit) | found)
    return pd.DataFrame(fits)


def _measurements(table: pd.DataFrame, scan_timestamp: str | datetime, rig: str | None) -> list[_Measurement]:
    """Every calibration of a table, by time."""
    missing = [name for name in ("timestamp", "pixel_value", "luminance_cd_m2") if name not in table.columns]
    report_problems("monitor calibration", [f"column '{name}' is missing" for name in missing])
    rows = table.index.to_numpy() + HEADER_ROWS
    problems = [] if len(table) else ["has no rows"]
    times = []
    for row, text in zip(rows, table["timestamp"], strict=True):
        try:
            times.append(_parse_time(text))
        except ValueError:
            problems.append(f"row {row}: timestamp '{text}' is not ISO 8601")
    try:
        scan_time = _parse_time(scan_timestamp)
    except ValueError:
        problems.append(f"scan timestamp '{scan_timestamp}' is not ISO 8601")
    else:
        if not problems and {time.tzinfo is None for time in times} - {scan_time.tzinfo is None}:
            problems.append("give a time zone for the scan and for every calibration, or for none of them")
    rigs = [None] * len(table)
    if "rig" in table.columns:
        problems += [f"row {row}: rig is empty" for row in rows[table["rig"].isna()]]
        problems += rig_problems(table, rig)
        rigs = table["rig"].astype(str).tolist()
    report_problems("monitor calibration", problems)

    places = list(zip(times, rigs, strict=True))
    found = []
    for time, name in sorted(set(places), key=lambda place: (place[0], str(place[1]))):
        measured = table[[place == (time, name) for place in places]]
        gap_hours = int(abs((scan_time - time).total_seconds())) / 3600
        measured_at = str(measured["timestamp"].iloc[0])
        found.append(_Measurement(measured_at, name, gap_hours, measured.sort_values("pixel_value", kind="stable")))
    return found


def _parse_time(text: str | datetime) -> datetime:
    """Raises ValueError if it is not ISO 8601."""
    return text if isinstance(text, datetime) else datetime.fromisoformat(str(text).strip())


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
