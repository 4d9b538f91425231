"""The Gabor that drives a cell most: of a grid of candidates, or by a continuous search."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product

import numpy as np
import pandas as pd
import xarray as xr
from scipy.ndimage import map_coordinates
from scipy.optimize import dual_annealing, minimize

from neurostatic.config import Gabors
from neurostatic.data.calibration import MonitorCalibration
from neurostatic.stimuli.batches import timed_batches
from neurostatic.stimuli.contrast import match_many
from neurostatic.stimuli.luminance import LuminanceMatched, match_luminance, showable_range, upscale

PARAMETERS = ("phase_deg", "wavelength_px", "orientation_deg", "sigma_px", "dy", "dx")
LIMITS = ((0.0, 360.0), (4.0, 20.0), (0.0, 180.0), (2.0, 9.0), (-0.35, 0.35), (-0.35, 0.35))  # in this order
PUBLISHED = Gabors()
Prepare = Callable[[np.ndarray], np.ndarray]  # Gabors (..., y, x) -> images (..., y, x) px


def create_gabor(
    height: int = 36,
    width: int = 64,
    phase_deg: float = 0,
    wavelength_px: float = 10,
    orientation_deg: float = 0,
    sigma_px: float = 5,
    dy: float = 0,
    dx: float = 0,
) -> np.ndarray:
    """Gabor patch (y, x) float32, about -1 to 1: a grating, turned counter-clockwise, under a round window.

    grating(row) = sin(phase + 360/wavelength * row);  window = exp(-(y^2 + x^2) / (2 sigma^2))

    The canvas is larger than the image by max(height, width) on every side; rows count from its top, so the phase in
    the center depends on the wavelength. dy (down) and dx (right) are fractions of height and width, cut to whole px.

    Raises ValueError: wavelength or sigma not above 0; dy or dx not in (-1, 1] (at -1 nothing was left upstream).
    Source: create_gabor.
    """
    _check_parameters([wavelength_px], [sigma_px], [dy, dx])
    pad = max(height, width)
    rows, columns = np.arange(height) + pad - int(dy * height), np.arange(width) + pad - int(dx * width)
    return _draw(height, width, rows, columns, phase_deg, wavelength_px, orientation_deg, sigma_px)


def luminance_matched(calibration: MonitorCalibration, mean_cd_m2: float = 10, contrast_cd_m2: float = 2) -> Prepare:
    """How Gabors become images of one mean and contrast on the monitor: px = to_px(match_stats(gabor, ...)).

    Raises InputError: the monitor cannot show the mean, or the contrast is not positive.
    Source: BestGabor with ProcessedImageConfig.
    """
    low, high = showable_range(calibration, mean_cd_m2, contrast_cd_m2)
    to_px = pixel_lookup(calibration)
    return lambda gabors: to_px(match_many(gabors, mean_cd_m2, contrast_cd_m2, low, high))


def pixel_matched(mean_px: float = 111.0, contrast_px: float = 16.0) -> Prepare:
    """How Gabors become images of one mean and contrast in px."""
    return lambda gabors: match_many(gabors, mean_px, contrast_px, 0, 255)


def pixel_lookup(calibration: MonitorCalibration, tolerance_px: float = 1e-4) -> Callable[[np.ndarray], np.ndarray]:
    """`calibration.pixel` as a table, refined until right within a tolerance: solving takes 30 times longer."""
    luminance = np.linspace(calibration.darkest_cd_m2, calibration.brightest_cd_m2, 1025)
    while True:
        pixels = calibration.pixel(luminance)
        middle = (luminance[1:] + luminance[:-1]) / 2
        coarse = np.abs(calibration.pixel(middle) - (pixels[1:] + pixels[:-1]) / 2) > tolerance_px
        if not coarse.any():
            return lambda values: np.interp(values, luminance, pixels)
        luminance = np.sort(np.append(luminance, middle[coarse]))


def candidates(config: Gabors) -> pd.DataFrame:
    """The Gabors of a grid: all combinations of the values of each parameter, dx fastest; 72,800 of the published ones.

    The published dx 0.25 lay a rounding error lower and moved one pixel less than -0.25; ours is 0.25.

    Returns:
        phase_deg, wavelength_px, orientation_deg, sigma_px, dy, dx; a row a candidate.

    Source: GaborRange 1.
    """
    return pd.DataFrame(product(*_grid(config)), columns=PARAMETERS, dtype=float)


def best_gabors(
    respond_px: Callable[[np.ndarray], np.ndarray],
    prepare: Prepare,
    config: Gabors = PUBLISHED,
    height: int = 36,
    width: int = 64,
    batch_size: int = 256,
    report: Callable[[str], None] = print,
) -> xr.Dataset:
    """The candidate of a grid that drives each unit most; every candidate passes the network once, for all units.

    Args:
        respond_px: images (image, y, x) px -> responses (image, unit); those that are not finite never win.
        prepare: Gabors -> images px, such as `luminance_matched(calibration)`.
        config: whose `candidates` are tried.
        batch_size: images a call, about: whole sets of shifts.

    Returns:
        Dataset over unit: the parameters phase_deg to dx; candidate, its row in `candidates` (the first on ties);
        activation; gabor (unit, y, x), the bare patch; gabor_px (unit, y, x), as the network saw it; failed, the
        reason or "". A failed unit has candidate -1 and NaN.

    Raises ValueError for a parameter without values, or with one that `create_gabor` refuses.
    Source: BestGabor.
    """
    grid = candidates(config).to_numpy()
    if not len(grid):
        raise ValueError("best_gabors: every parameter needs at least one value")
    _check_parameters(config.wavelengths_px, config.sigmas_px, (*config.dys, *config.dxs))
    sets = _shift_sets(config, height, width)
    n_shifts = len(config.dys) * len(config.dxs)
    sets_a_batch = max(1, batch_size // n_shifts)
    highest, winners, lowest = [], [], []
    for part in timed_batches(len(grid), sets_a_batch * n_shifts, "Gabors", report):
        images_px = prepare(np.concatenate(list(islice(sets, sets_a_batch))))
        responses = np.asarray(respond_px(images_px), dtype=float)
        if responses.ndim != 2 or len(responses) != len(images_px):
            raise ValueError(f"best_gabors: expected responses ({len(images_px)}, unit), got {responses.shape}")
        finite = np.isfinite(responses)
        lowest.append(np.where(finite, responses, np.inf).min(0))
        responses = np.where(finite, responses, -np.inf)
        highest.append(responses.max(0))
        winners.append(part.start + responses.argmax(0))
    best_batch, units = np.argmax(highest, axis=0), np.arange(len(highest[0]))
    activation, winner = np.array(highest)[best_batch, units], np.array(winners)[best_batch, units]
    failed = np.where(np.isneginf(activation), "no response is finite", "").astype(object)
    failed[(activation == np.min(lowest, axis=0)) & (len(grid) > 1)] = "the response is the same to every Gabor"
    gabors = _described(grid[winner], activation, failed, prepare, height, width)
    return gabors.assign(candidate=("unit", np.where(failed == "", winner, -1)))


def optimal_gabors(
    respond_paired: Callable[[np.ndarray, np.ndarray], np.ndarray],
    prepare: Prepare,
    n_units: int,
    height: int = 36,
    width: int = 64,
    limits: tuple[tuple[float, float], ...] = LIMITS,
    maxiter: int = 300,
    seeds: tuple[int, ...] = (1, 12, 123, 1234, 12345),
    report: Callable[[str], None] = print,
) -> xr.Dataset:
    """The Gabor within limits that drives each unit most: simulated annealing, then Nelder-Mead, for each seed.

    Args:
        respond_paired: images (k, y, x) px, positions (k,) from 0 to n_units - 1 -> (k,) responses of these units.
        limits: (lower, upper) of phase_deg to dx; a parameter beyond counts as its limit.
        maxiter: rounds of the annealing, of 12 images each.
        seeds: one search each; the best is kept, the first on ties.

    Returns:
        Dataset as of `best_gabors`, without candidate. A unit with a response that is not finite fails.

    Raises ValueError: no seeds, or limits that `create_gabor` refuses.
    Source: OptimalGabor, GaborLimits.
    """
    lower, upper = np.transpose(limits)
    _check_parameters([lower[1]], [lower[3]], [*lower[4:], *upper[4:]])
    if not seeds:
        raise ValueError("optimal_gabors: at least one seed is needed")
    parameters = np.broadcast_to(lower, (n_units, len(limits))).copy()
    activation, failed = np.full(n_units, np.nan), np.full(n_units, "", dtype=object)
    for unit in range(n_units):
        seen: list[float] = []

        def cost(values: np.ndarray, unit: int = unit, seen: list[float] = seen) -> float:
            gabor = create_gabor(height, width, *np.clip(values, lower, upper))
            response = float(respond_paired(prepare(gabor[None]), np.array([unit]))[0])
            if not np.isfinite(response):
                raise FloatingPointError("a response is not finite")
            seen.append(response)
            return -response

        try:
            for seed in seeds:
                coarse = dual_annealing(cost, limits, maxiter=maxiter, no_local_search=True, seed=seed)
                fine = minimize(cost, coarse.x, method="Nelder-Mead")  # never ends above its start
                if not -fine.fun <= activation[unit]:  # the first is compared with NaN
                    activation[unit], parameters[unit] = -fine.fun, np.clip(fine.x, lower, upper)
        except FloatingPointError as error:
            failed[unit] = str(error)
        if not failed[unit] and min(seen) == max(seen):
            failed[unit] = "the response is the same to every Gabor"
        report(f"optimal Gabors: {unit + 1} of {n_units} units")
    return _described(parameters, activation, failed, prepare, height, width)


def gabor_stimulus(
    gabor: np.ndarray,
    calibration: MonitorCalibration,
    mean_cd_m2: float = 10,
    contrast_cd_m2: float = 2,
    zoom: float = 4,
) -> LuminanceMatched:
    """Turn a bare Gabor (y, x) into a stimulus (zoom*y, zoom*x): enlarge it (cubic) and `match_luminance`.

    It counts as luminance, so that it is not converted before. Raises as `match_luminance`.
    Source: ProcessedBestGabor.
    """
    return match_luminance(upscale(gabor, zoom), calibration, mean_cd_m2, contrast_cd_m2)


def _check_parameters(wavelengths_px: Sequence[float], sigmas_px: Sequence[float], shifts: Sequence[float]) -> None:
    for name, values in (("wavelength_px", wavelengths_px), ("sigma_px", sigmas_px)):
        if not all(0 < value < np.inf for value in values):
            raise ValueError(f"Gabor: {name} must be larger than 0, got {list(values)}")
    if not all(-1 < shift <= 1 for shift in shifts):
        raise ValueError(f"Gabor: dy and dx must be larger than -1 and at most 1, got {list(shifts)}")


def _draw(
    height: int,
    width: int,
    rows: np.ndarray,
    columns: np.ndarray,
    phase_deg: float,
    wavelength_px: float,
    orientation_deg: float,
    sigma_px: float,
) -> np.ndarray:
    """These rows and columns of the canvas (row, column), float32."""
    n_rows, n_columns = height + 2 * max(height, width), width + 2 * max(height, width)
    y, x = rows[:, None] - (n_rows - 1) / 2, columns - (n_columns - 1) / 2
    turn = np.deg2rad(orientation_deg)
    along_y, along_x = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    # Upstream turned an image of the grating; as it is constant along x, its spline has one dimension.
    grating = np.sin(np.deg2rad(phase_deg + 360 / wavelength_px * np.arange(n_rows)))
    turned = map_coordinates(grating, [along_y + (n_rows - 1) / 2], order=3)
    turned[np.abs(along_x) > (n_columns - 1) / 2] = 0  # beyond the sides of the canvas that was turned
    return (turned * np.exp(-(y**2 + x**2) / (2 * sigma_px**2))).astype(np.float32)


def _grid(config: Gabors) -> tuple[tuple[float, ...], ...]:
    """The values of each of PARAMETERS."""
    return (
        config.phases_deg, config.wavelengths_px, config.orientations_deg, config.sigmas_px, config.dys, config.dxs,
    )  # fmt: skip


def _shift_sets(config: Gabors, height: int, width: int) -> Iterator[np.ndarray]:
    """The candidates in order, as arrays (shift, y, x): each canvas is drawn once and cut out at every shift."""
    pad = max(height, width)
    rows, columns = np.arange(height + 2 * pad), np.arange(width + 2 * pad)
    corners = [(pad - int(dy * height), pad - int(dx * width)) for dy, dx in product(config.dys, config.dxs)]
    for shape in product(*_grid(config)[:4]):
        canvas = _draw(height, width, rows, columns, *shape)
        yield np.stack([canvas[top : top + height, left : left + width] for top, left in corners])


def _described(
    parameters: np.ndarray, activation: np.ndarray, failed: np.ndarray, prepare: Prepare, height: int, width: int
) -> xr.Dataset:
    """Parameters (unit, 6) and activations (unit,) as a data set with the Gabors themselves; NaN where failed."""
    gabors = np.full((len(parameters), height, width), np.nan, dtype=np.float32)
    images_px = np.full(gabors.shape, np.nan)
    for unit in np.flatnonzero(failed == ""):
        gabors[unit] = create_gabor(height, width, *parameters[unit])
        images_px[unit] = prepare(gabors[unit])
    scores = np.where(failed == "", np.vstack([parameters.T, activation]), np.nan)
    return xr.Dataset(
        {
            **{name: ("unit", values) for name, values in zip((*PARAMETERS, "activation"), scores, strict=True)},
            "gabor": (("unit", "y", "x"), gabors),
            "gabor_px": (("unit", "y", "x"), images_px),
            "failed": ("unit", failed.astype(str)),
        }
    )
