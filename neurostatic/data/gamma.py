"""The power law of a monitor, fitted to a measured table, and how far the table is from it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from neurostatic.problems import InputError, report_problems

MAX_GAMMA = 20.0
MIN_MEAN_STEP_CD_M2 = 0.05  # below this the photometer saw no light: "no luminance measured"
HEADER_ROWS = 2  # a table's first row (index 0) is the second line of its CSV file


@dataclass(frozen=True)
class GammaFit:
    """luminance = amplitude * pixel_value^gamma + offset (cd/m2), with the mean squared error of the fit."""

    amplitude: float
    gamma: float
    offset: float
    mse: float


def fit_gamma(
    pixel_value: np.ndarray,
    luminance_cd_m2: np.ndarray,
    file_rows: np.ndarray | None = None,
    source: str = "gamma fit",
) -> GammaFit:
    """Power law of a monitor, by least squares with amplitude and offset >= 0 and 0 < gamma <= 20.

    luminance = amplitude * pixel_value^gamma + offset

    For each gamma the best amplitude and offset follow in closed form (variable projection), so one number is
    searched, without random restarts. Upstream's 200 restarts stop further from the optimum.

    Args:
        pixel_value, luminance_cd_m2: (level,) measured table.
        file_rows: (level,) line numbers of the table in its file, for messages; 2, 3, ... by default.
        source: name of the table, for messages.

    Raises:
        InputError: unreadable values, fewer than 3 pixel values, or a mean luminance step below 0.05 cd/m2.

    Source: ProcessedMonitorCalibration.GammaFit.
    """
    pixel_value, luminance, rows = measured_columns(pixel_value, luminance_cd_m2, file_rows, source)
    problems = value_problems(pixel_value, luminance, rows)
    if not problems and (len(np.unique(pixel_value)) < 3 or pixel_value.min() < 0):
        found = f"{len(np.unique(pixel_value))}, the lowest {pixel_value.min():g}"
        problems.append(f"a gamma fit needs at least 3 different pixel values, none below 0; found {found}")
    report_problems(source, problems)

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


def fit_residuals(table: pd.DataFrame, fit: GammaFit | pd.Series) -> pd.DataFrame:
    """How far each measured level lies from the power law.

    residual = luminance - (amplitude * pixel_value^gamma + offset); fit.mse is the mean of its square

    Args:
        table: (level,) pixel_value, luminance_cd_m2, and whatever else.
        fit: of this table, or its row in a table of fits.

    Returns:
        The table with the columns fitted_cd_m2 and residual_cd_m2.
    """
    fitted = fit.amplitude * table["pixel_value"].astype(float) ** fit.gamma + fit.offset
    return table.assign(fitted_cd_m2=fitted, residual_cd_m2=table["luminance_cd_m2"] - fitted)


def mean_step(pixel_value: np.ndarray, luminance_cd_m2: np.ndarray) -> float:
    """Mean difference (cd/m2) of the luminances of neighboring pixel values; NaN if one cannot be read."""
    pixel_value, luminance = _numbers(pixel_value), _numbers(luminance_cd_m2)
    with np.errstate(invalid="ignore"):  # of infinite luminances
        steps = np.diff(luminance[np.argsort(pixel_value, kind="stable")])
        return float(steps.mean()) if len(steps) else 0.0


def measured_columns(
    pixel_value: np.ndarray, luminance: np.ndarray, file_rows: np.ndarray | None, source: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(level,) pixel values and luminances as numbers (NaN where there is none), and their rows in the file."""
    pixel_value, luminance = _numbers(pixel_value), _numbers(luminance)
    counts = len(pixel_value), len(luminance)
    if counts[0] != counts[1]:
        raise InputError(f"{source}: {counts[0]} pixel values but {counts[1]} luminances")
    rows = np.arange(counts[0]) + HEADER_ROWS if file_rows is None else np.asarray(file_rows)
    return pixel_value, luminance, rows


def _numbers(values: np.ndarray) -> np.ndarray:
    """As floats; what cannot be read as a number is NaN."""
    return pd.to_numeric(pd.Series(np.asarray(values)), errors="coerce").to_numpy(dtype=float)


def value_problems(pixel_value: np.ndarray, luminance: np.ndarray, rows: np.ndarray) -> list[str]:
    """A line for every value that is no number; if there is none, for a table without two levels or light."""
    if len(rows) < 2:
        return [f"found {len(rows)} row{'' if len(rows) == 1 else 's'}, at least 2 are needed"]
    problems = []
    for name, values in (("pixel_value", pixel_value), ("luminance_cd_m2", luminance)):
        problems += [f"row {row}: {name} is not a finite number" for row in rows[~np.isfinite(values)]]
    step = mean_step(pixel_value, luminance)
    if not problems and step < MIN_MEAN_STEP_CD_M2:
        problems.append(
            f"no luminance measured: the mean step is {step:.3g} cd/m2, at least {MIN_MEAN_STEP_CD_M2} is needed"
        )
    return problems
