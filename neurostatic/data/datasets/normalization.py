"""Images, responses, behavior and pupil position in units of their training statistics (CorrectedAreaLayer)."""

from dataclasses import asdict, dataclass, field, replace

import numpy as np
import xarray as xr

from neurostatic.store import InputError, report_problems

FIELDS = ("images", "responses", "behavior", "pupil_center")
STD_GUARD = 0.01  # a channel whose std is below this part of the mean std is not scaled


@dataclass(frozen=True)
class Normalization:
    """The corrected normalizer: images and pupil center z-scored, responses and behavior only scaled (Normalizer).

    Attributes:
        image_mean, image_std: px, over all pixels of the training images.
        response_factor: (unit,) 1/std.
        behavior_factor: (3,) 1/std of pupil_radius, dpupil, treadmill.
        behavior_mean: (3,) mean before scaling.
        eye_mean, eye_std: (2,) px, x and y.
        mean_eye: (2,) mean of the normalized pupil center; 0 unless pupil_center is excluded.
    """

    image_mean: float
    image_std: float
    response_factor: np.ndarray
    behavior_factor: np.ndarray
    behavior_mean: np.ndarray
    eye_mean: np.ndarray
    eye_std: np.ndarray
    mean_eye: np.ndarray = field(default_factory=lambda: np.zeros(2))

    @property
    def mean_behavior(self) -> np.ndarray:
        """(3,) mean of the normalized behavior."""
        return self.behavior_mean * self.behavior_factor

    def images(self, images_px: np.ndarray) -> np.ndarray:
        """(x - mean) / std, float32."""
        return ((images_px - self.image_mean) / self.image_std).astype(np.float32)

    def responses(self, responses: np.ndarray) -> np.ndarray:
        """(trial, unit) responses / std, float32; not centered."""
        return (responses * self.response_factor).astype(np.float32)

    def behavior(self, behavior: np.ndarray) -> np.ndarray:
        """(trial, 3) behavior / std, float32; not centered."""
        return (behavior * self.behavior_factor).astype(np.float32)

    def eye(self, pupil_center_px: np.ndarray) -> np.ndarray:
        """(trial, 2) (x - mean) / std, float32."""
        return ((pupil_center_px - self.eye_mean) / self.eye_std).astype(np.float32)

    def of_units(self, units: np.ndarray) -> "Normalization":
        """The same normalization of some of the units."""
        return replace(self, response_factor=self.response_factor[units])

    def to_dict(self) -> dict:
        """Plain floats and lists, for a model's file."""
        return {name: np.asarray(value).tolist() for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> "Normalization":
        """The inverse of `to_dict`."""
        return cls(
            **{
                name: np.asarray(value, dtype=float) if isinstance(value, list) else float(value)
                for name, value in values.items()
            }
        )


def normalization(dataset: xr.Dataset, tier: str = "train", exclude: tuple[str, ...] = ()) -> Normalization:
    """Training statistics of a data set as a normalizer (DataConfig.CorrectedAreaLayer, stats_source 'all').

    Standard deviations have ddof 1. Images: over every pixel of every trial of the tier, so that a picture counts
    as often as it was shown. Responses and behavior: 1/std where std > 1 % of the mean std over units (channels),
    else 1. A constant pupil center is only centered.

    Args:
        exclude: fields that pass unchanged, out of images, responses, behavior, pupil_center (DataConfig.exclude).

    Raises InputError for fewer than two trials, NaN, flat images, or an unknown field.
    """
    rows = np.flatnonzero(dataset.tier.values == tier)
    where = f"statistics of tier '{tier}'"
    unknown = sorted(set(exclude) - set(FIELDS))
    if unknown:
        raise InputError(f"exclude: {', '.join(unknown)} not known, allowed are {', '.join(FIELDS)}")
    if len(rows) < 2:
        raise InputError(f"{where}: {len(rows)} trials, at least 2 are needed")
    image_mean, image_std = _image_statistics(dataset, rows)
    tables = {name: dataset[name].values[rows].astype(float) for name in FIELDS[1:]}
    std = {name: table.std(0, ddof=1) for name, table in tables.items()}
    problems = [
        f"{name}: the standard deviation of {int(np.isnan(value).sum())} of {len(value)} columns is NaN"
        for name, value in std.items()
        if np.isnan(value).any()
    ]
    if not image_std > 0:
        problems.append(f"images: standard deviation is {image_std}, it must be above 0")
    report_problems(where, problems)
    eye_mean, eye_std = tables["pupil_center"].mean(0), std["pupil_center"]
    values = {
        "image_mean": image_mean,
        "image_std": image_std,
        "response_factor": scaling_factors(std["responses"]),
        "behavior_factor": scaling_factors(std["behavior"]),
        "behavior_mean": tables["behavior"].mean(0),
        "eye_mean": eye_mean,
        "eye_std": np.where(eye_std > 0, eye_std, 1.0),
        "mean_eye": np.zeros(2),
    }
    unchanged = {
        "images": {"image_mean": 0.0, "image_std": 1.0},
        "responses": {"response_factor": np.ones(dataset.sizes["unit"])},
        "behavior": {"behavior_factor": np.ones(dataset.sizes["behavior_channel"])},
        "pupil_center": {"eye_mean": np.zeros(2), "eye_std": np.ones(2), "mean_eye": eye_mean},
    }
    for name in exclude:
        values |= unchanged[name]
    return Normalization(**values)


def scaling_factors(std: np.ndarray) -> np.ndarray:
    """1/std where std > 1 % of the mean std, else 1 (Normalizer).

    Raises InputError for NaN, which upstream turned into a factor of 1 for every channel.
    """
    std = np.asarray(std, dtype=float)
    if np.isnan(std).any():
        raise InputError(f"standard deviation of {int(np.isnan(std).sum())} of {len(std)} columns is NaN")
    scaled = std > STD_GUARD * std.mean()
    return np.where(scaled, 1 / np.where(scaled, std, 1.0), 1.0)


def _image_statistics(dataset: xr.Dataset, rows: np.ndarray) -> tuple[float, float]:
    """Mean and std (ddof 1) over the pixels of the images of these trials, each presentation counted."""
    shown, times = np.unique(dataset.image_index.values[rows], return_counts=True)
    images = dataset.images.values[shown].astype(float)
    n_pixels = len(rows) * images[0].size
    mean = float((times * images.sum((1, 2))).sum() / n_pixels)
    squares = float((times * ((images - mean) ** 2).sum((1, 2))).sum())
    return mean, float(np.sqrt(squares / (n_pixels - 1)))
