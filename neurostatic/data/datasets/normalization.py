"""Images, responses, behavior and pupil position in units of their training statistics (CorrectedAreaLayer)."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from neurostatic.config import DataConfig
from neurostatic.problems import InputError, report_problems
from neurostatic.store import row_blocks

DEFAULT = DataConfig()
FIELDS = ("images", "responses", "behavior", "pupil_center")
STD_GUARD = 0.01  # a channel whose std is below this part of the mean std is not scaled


@dataclass(frozen=True)
class Normalization:
    """The corrected normalizer: images and pupil center z-scored, responses and behavior only scaled (Normalizer).

    Attributes:
        image_mean, image_std: of images, in image_units (see `normalization`).
        response_factor: (unit,) 1/std.
        behavior_factor: (3,) 1/std of pupil_radius, dpupil, treadmill.
        behavior_mean: (3,) mean before scaling.
        eye_mean, eye_std: (2,) px, x and y.
        mean_eye: (2,) mean of the normalized pupil center; 0 unless pupil_center is excluded.
        per_image: subtract each image's own mean instead of image_mean (DataConfig.normalize_per_image).
        image_units: 'px' or 'cd/m2', of image_mean and image_std.
    """

    image_mean: float
    image_std: float
    response_factor: np.ndarray
    behavior_factor: np.ndarray
    behavior_mean: np.ndarray
    eye_mean: np.ndarray
    eye_std: np.ndarray
    mean_eye: np.ndarray = field(default_factory=lambda: np.zeros(2))
    per_image: bool = False
    image_units: str = "px"

    @property
    def mean_behavior(self) -> np.ndarray:
        """(3,) mean of the normalized behavior."""
        return self.behavior_mean * self.behavior_factor

    def images(self, images_px: np.ndarray) -> np.ndarray:
        """(x - mean) / std of images (image, ...), float32; the mean is that of the image itself if `per_image`."""
        mean = self.image_mean
        if self.per_image:
            mean = images_px.mean(tuple(range(1, images_px.ndim)), dtype=float, keepdims=True)
        return ((images_px - mean) / self.image_std).astype(np.float32)

    def responses(self, responses: np.ndarray) -> np.ndarray:
        """(trial, unit) responses / std, float32; not centered."""
        return np.multiply(responses, self.response_factor.astype(np.float32), dtype=np.float32)

    def behavior(self, behavior: np.ndarray) -> np.ndarray:
        """(trial, 3) behavior / std, float32; not centered."""
        return (behavior * self.behavior_factor).astype(np.float32)

    def eye(self, pupil_center_px: np.ndarray) -> np.ndarray:
        """(trial, 2) (x - mean) / std, float32."""
        return ((pupil_center_px - self.eye_mean) / self.eye_std).astype(np.float32)

    def of_units(self, units: np.ndarray) -> "Normalization":
        """The same normalization of some of the units."""
        return replace(self, response_factor=self.response_factor[units])

    def to_dict(self) -> dict[str, Any]:
        """Plain floats and lists, for a model's file."""
        return {name: np.asarray(value).tolist() for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Normalization":
        """The inverse of `to_dict`."""
        arrays = {name: np.asarray(value, dtype=float) for name, value in values.items() if isinstance(value, list)}
        return cls(**values | arrays)


def normalization(dataset: xr.Dataset, config: DataConfig = DEFAULT) -> Normalization:
    """Statistics of a data set as a normalizer (DataConfig.CorrectedAreaLayer, Preprocessing.norm_tier).

    Standard deviations have ddof 1. Images: over every pixel of every trial, so that a picture counts as often as it
    was shown; with image_std 'images' the mean of the standard deviations (ddof 0) of the images instead
    (stats_per_input). Responses and behavior: 1/std where std > 1 % of the mean std over units (channels), else 1. A
    constant pupil center is only centered.

    Args:
        config: norm_tier and stats_source say which trials are looked at, exclude which fields pass unchanged.

    Raises InputError for fewer than two such trials, NaN, flat images, an unknown field, or a stimulus type that was
    not shown.
    """
    rows = _statistics_trials(dataset, config)
    where = f"statistics of tier '{config.norm_tier}'"
    unknown = sorted(set(config.exclude) - set(FIELDS))
    if unknown:
        raise InputError(f"exclude: {', '.join(unknown)} not known, allowed are {', '.join(FIELDS)}")
    if len(rows) < 2:
        raise InputError(f"{where}: {len(rows)} trials, at least 2 are needed")
    image_mean, image_std = _image_statistics(dataset, rows, config.image_std == "images")
    moments = {name: _moments(dataset[name], rows) for name in FIELDS[1:]}
    problems = [
        f"{name}: the standard deviation of {int(np.isnan(std).sum())} of {len(std)} columns is NaN"
        for name, (_, std) in moments.items()
        if np.isnan(std).any()
    ]
    if not image_std > 0:
        problems.append(f"images: standard deviation is {image_std}, it must be above 0")
    report_problems(where, problems)
    eye_mean, eye_std = moments["pupil_center"]
    behavior_mean, behavior_std = moments["behavior"]
    values = {
        "image_mean": image_mean,
        "image_std": image_std,
        "response_factor": scaling_factors(moments["responses"][1]),
        "behavior_factor": scaling_factors(behavior_std),
        "behavior_mean": behavior_mean,
        "eye_mean": eye_mean,
        "eye_std": np.where(eye_std > 0, eye_std, 1.0),
        "mean_eye": np.zeros(2),
        "per_image": config.normalize_per_image,
        "image_units": dataset.images.attrs.get("units", "px"),
    }
    unchanged: dict[str, dict[str, Any]] = {
        "images": {"image_mean": 0.0, "image_std": 1.0, "per_image": False},
        "responses": {"response_factor": np.ones(dataset.sizes["unit"])},
        "behavior": {"behavior_factor": np.ones(dataset.sizes["behavior_channel"])},
        "pupil_center": {"eye_mean": np.zeros(2), "eye_std": np.ones(2), "mean_eye": eye_mean},
    }
    for name in config.exclude:
        values |= unchanged[name]
    return Normalization(**values)


def _statistics_trials(dataset: xr.Dataset, config: DataConfig) -> np.ndarray:
    """Positions of the trials that the statistics come from: of one tier or all, of one stimulus type or all."""
    chosen = np.ones(dataset.sizes["trial"], dtype=bool)
    if config.norm_tier != "all":
        chosen &= dataset.tier.values == config.norm_tier
    if config.stats_source != "all":
        shown = np.unique(dataset.stimulus_type.values)
        if config.stats_source not in shown:
            raise InputError(
                f"data_config.stats_source: '{config.stats_source}' was not shown; allowed: all, {', '.join(shown)}"
            )
        chosen &= dataset.stimulus_type.values == config.stats_source
    return np.flatnonzero(chosen)


def _moments(table: xr.DataArray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (ddof 1) of each column over some rows, read block by block (Chan et al. 1983)."""
    n, table = 0, table[rows]
    mean = squares = np.zeros(table.shape[1:])
    for block in row_blocks(table):
        values = table[block].values.astype(float)
        block_mean = values.mean(0)
        step = block_mean - mean
        total = n + len(values)
        squares = squares + ((values - block_mean) ** 2).sum(0) + step**2 * n * len(values) / total
        mean = mean + step * len(values) / total
        n = total
    return mean, np.sqrt(squares / (n - 1))


def scaling_factors(std: np.ndarray) -> np.ndarray:
    """1/std where std > 1 % of the mean std, else 1 (Normalizer).

    Raises InputError for NaN, which upstream turned into a factor of 1 for every channel.
    """
    std = np.asarray(std, dtype=float)
    if np.isnan(std).any():
        raise InputError(f"standard deviation of {int(np.isnan(std).sum())} of {len(std)} columns is NaN")
    scaled = std > STD_GUARD * std.mean()
    return np.where(scaled, 1 / np.where(scaled, std, 1.0), 1.0)


def _image_statistics(dataset: xr.Dataset, rows: np.ndarray, by_image: bool) -> tuple[float, float]:
    """Mean and std of the images of these trials, each presentation counted (see `normalization`)."""
    shown, times = np.unique(dataset.image_index.values[rows], return_counts=True)
    images = dataset.images[shown]
    of_images = []  # mean and mean square deviation from it, image by image
    for block in row_blocks(images):
        pixels = images[block].values.reshape(block.stop - block.start, -1).astype(float)
        of_images.append(np.stack([pixels.mean(1), pixels.var(1)], 1))
    means, variances = np.concatenate(of_images).T
    mean = float(np.average(means, weights=times))
    if by_image:
        return mean, float(np.average(np.sqrt(variances), weights=times))
    n_pixels = len(rows) * images[0].size
    variance = float(np.average(variances + (means - mean) ** 2, weights=times))
    return mean, float(np.sqrt(variance * n_pixels / (n_pixels - 1)))
