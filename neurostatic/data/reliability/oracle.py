"""The oracle: how well the other repeats of an image predict a single trial."""

from typing import Literal

import numpy as np
import scipy

from neurostatic.data.reliability.repeats import BLOCK_UNITS, MIN_ORACLE_REPEATS, Repeats, repeats_of
from neurostatic.statistics import pearson


def oracle(
    responses: np.ndarray,
    image: np.ndarray,
    method: Literal["pearson", "spearman"] = "pearson",
    *,
    min_repeats: int = MIN_ORACLE_REPEATS,
    block_units: int = BLOCK_UNITS,
) -> np.ndarray:
    """Oracle.UnitScores: correlation of each trial with the mean of the other repeats of its image.

    o_ij = (sum_k y_ik - y_ij) / (r_i - 1) for trial j of image i, each image with its own r_i; the oracle is the
    correlation of y and o over all trials of all images shown at least `min_repeats` times. Where signal and noise
    are independent, of variances S and N, and r_i = r, it tends to S / sqrt((S + N)(S + N / (r - 1))).

    It lies slightly below 0 without a signal, since o lacks just the trial it predicts: on average -0.0055 for 100
    images of 10 repeats, -1 for a single image; 20 images or more keep this small. Noise that repeats of an image
    share (a behavioral state) counts as signal.

    Upstream multiplied Pearson by (n - 1)/n, ranked ties in an arbitrary order for Spearman, scored a constant unit 0,
    and failed if a single image had too few repeats. neuralpredictors and Sensorium call the Pearson form
    `oracle_corr_jackknife`; Walker et al. 2019 select units by it.

    Args:
        responses: (trial, unit), any real type, not normalized.
        image: (trial,) identity of the image of each trial.
        method: "pearson", or "spearman": Pearson of the ranks of y and of o, ties sharing their average rank.
        block_units: units worked on at a time; the result does not depend on it.

    Returns:
        (unit,) oracle correlations; NaN for constant units, and where no image has enough repeats.

    Raises ValueError for another method, or if shapes do not fit.
    """
    if method not in ("pearson", "spearman"):
        raise ValueError(f"oracle: method is 'pearson' or 'spearman', got {method!r}")
    repeats = repeats_of(responses, image, min_repeats)
    correlation = np.full(responses.shape[1], np.nan)
    for units, single in repeats.blocks(block_units, responses):
        others = repeats.leave_one_out(single)  # sums of single-precision responses are exact: equal means do tie
        if method == "spearman":
            single, others = average_ranks(single), average_ranks(others)
        correlation[units] = pearson(single.T, others.T)
    return correlation


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 along the last axis; equal values share the average of their ranks, a row with a NaN is NaN."""
    return scipy.stats.rankdata(values, method="average", axis=-1)


def standardized(block: np.ndarray) -> np.ndarray:
    """Responses of mean 0 and power 1 over the repeated trials, as `oracles_of_draws` needs them: (repeat, unit)."""
    centered = block - block.mean(1, keepdims=True)
    power = (centered**2).sum(1, keepdims=True)
    return np.ascontiguousarray((centered / np.sqrt(np.where(power == 0, 1, power))).T)


def oracles_of_draws(responses: np.ndarray, draws: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Oracle of many rearrangements of the same trials at once.

    Only the sum A_i and the sum of squares Q_i over each image's trials matter, for n trials in all:
        sum y = sum o = sum_i A_i,        sum y^2 = sum_i Q_i,
        sum y o = sum_i (A_i^2 - Q_i) / (r_i - 1),
        sum o^2 = sum_i ((r_i - 2) A_i^2 + Q_i) / (r_i - 1)^2.

    Args:
        responses: (repeat, unit) float64 as `standardized` gives them, so that the differences lose no digits.
        draws: (draw, place) rows of `responses`: first the trials taken for image 0, then for image 1, ...
        count: (image,) how many places each image has, r_i.

    Returns:
        (draw, unit) Pearson correlations; NaN where all trials drawn are equal.
    """
    n_draws, n_places = draws.shape
    n_images = len(count)
    # Sparse products add rows without a copy of every draw, and always in the same order, however many units there are.
    boundaries = np.append(0, np.cumsum(np.tile(count, n_draws)))
    of_images = scipy.sparse.csr_array(
        (np.ones(draws.size), draws.ravel(), boundaries), shape=(n_draws * n_images, len(responses))
    )
    sums, squares = of_images @ responses, of_images @ responses**2

    def over_images(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
        columns = np.arange(n_draws * n_images)
        boundaries = np.arange(0, n_draws * n_images + 1, n_images)
        return scipy.sparse.csr_array((np.tile(weight, n_draws), columns, boundaries)) @ values

    each, weight = np.ones(n_images), 1 / (count - 1)
    mean_part = over_images(each, sums) ** 2 / n_places
    sums *= sums
    total = over_images(each, squares)
    power = total - mean_part
    power_of_others = over_images((count - 2) * weight**2, sums) + over_images(weight**2, squares) - mean_part
    sums -= squares
    covariance = over_images(weight, sums) - mean_part
    # A draw of equal trials (a unit silent in all of them) leaves rounding errors, of the size of `total`, for power.
    defined = power > 1e-12 * total
    scale = np.sqrt(np.where(defined, power * power_of_others, 1))
    return np.where(defined, covariance / scale, np.nan)


def draws_at_a_time(repeats: Repeats, n_units: int) -> int:
    """Draws whose sums over `n_units` units fit in about 32 MB."""
    return max(1, 2**22 // (len(repeats.count) * n_units))
