"""The MEIs that a unit has from several starts and by several seeds, compared."""

import numpy as np

from neurostatic.statistics import pearson

ENSEMBLE = "ensemble"  # the label of the mean over seeds, beside those of single seeds


def best_of_starts(activation: np.ndarray) -> np.ndarray:
    """(..., start) activations -> (...) the start with the highest; the first on ties, and if all are NaN."""
    return np.where(np.isnan(activation), -np.inf, activation).argmax(-1)


def disagreement(images_px: np.ndarray) -> np.ndarray:
    """How much seeds differ in the image of each unit: 1 - mean correlation over all pairs of seeds.

    Args:
        images_px: (seed, unit, pixel); images with NaN take no part.

    Returns:
        (unit,): 0 where all agree; NaN with fewer than two images.
    """
    first, second = np.triu_indices(len(images_px), 1)
    pairs = np.stack([pearson(images_px[a].T, images_px[b].T) for a, b in zip(first, second, strict=True)])
    counts = np.isfinite(pairs).sum(0)
    return 1 - np.where(counts > 0, np.nansum(pairs, 0) / np.maximum(counts, 1), np.nan)
