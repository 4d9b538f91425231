"""Tests by permutation and intervals by the bootstrap, for data in clusters. They know nothing of neuroscience."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

LEVEL = 0.95


class DiagonalTest(NamedTuple):
    """Result of `diagonal_test`: the trace, how many columns have their maximum on the diagonal, and the p of each."""

    trace: float
    trace_p: float
    n_best: int
    n_best_p: float


class Interval(NamedTuple):
    """An estimate, its 95 % interval, and a two-sided t test of it; NaN where there are too few clusters."""

    estimate: float
    low: float
    high: float
    t: float
    p_value: float


NO_INTERVAL = Interval(np.nan, np.nan, np.nan, np.nan, np.nan)


def diagonal_test(matrices: list[np.ndarray], n_permutations: int, seed: int | np.random.Generator) -> DiagonalTest:
    """Are the diagonals of square matrices larger than after shuffling the rows of each? One-sided.

    Two statistics, each summed over the matrices: the trace, and the number of columns whose maximum is on the diagonal
    (a tie with another row does not count). p = (1 + #{shuffled >= found}) / (1 + n_permutations) over random shuffles.
    Of a single matrix whose n! orders are at most n_permutations every order is taken once, and
    p = #{shuffled >= found} / n! is exact.

    Args:
        matrices: (n, n) each, without NaN.

    Raises ValueError for a matrix that is not square or has a NaN.
    """
    matrices = [np.asarray(matrix, dtype=float) for matrix in matrices]
    for matrix in matrices:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or np.isnan(matrix).any():
            raise ValueError(f"diagonal_test: a square matrix without NaN is needed, got {matrix.shape}")
    exact = len(matrices) == 1 and math.factorial(len(matrices[0])) <= n_permutations
    rng = np.random.default_rng(seed)
    trace, n_best, rounding = 0.0, 0, 0.0
    shuffled_trace, shuffled_best = np.zeros(1), np.zeros(1, dtype=int)
    for matrix in matrices:
        n = len(matrix)
        if exact:
            orders = np.array(list(itertools.permutations(range(n))), dtype=int)
        else:
            orders = rng.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)
        best = matrix.argmax(0)
        best[(matrix == matrix.max(0)).sum(0) > 1] = -1
        trace += float(matrix.diagonal().sum())
        n_best += int((best == np.arange(n)).sum())
        shuffled_trace = shuffled_trace + matrix[orders, np.arange(n)].sum(1)  # (permutation,)
        shuffled_best = shuffled_best + (orders == best).sum(1)
        rounding += 1e-12 * np.abs(matrix).sum()
    # Equal sums may differ in their last digits with the order of their terms: they count as reached.
    reached = [int((shuffled_trace >= trace - rounding).sum()), int((shuffled_best >= n_best).sum())]
    trace_p, n_best_p = ((n if exact else 1 + n) / (len(shuffled_trace) + (not exact)) for n in reached)
    return DiagonalTest(trace, trace_p, n_best, n_best_p)


def complete_units(matrix: np.ndarray) -> np.ndarray:
    """Which units of a square matrix to keep so that no entry is NaN: (unit,) bool.

    The unit with the most missing entries in its row and column goes first (ties: the first of them), so that
    one silent cell costs one unit and not the whole matrix.
    """
    missing = np.isnan(matrix)
    keep = np.ones(len(matrix), dtype=bool)
    while missing[np.ix_(keep, keep)].any():
        count = missing[:, keep].sum(1) + missing[keep].sum(0)
        keep[np.argmax(np.where(keep, count, -1))] = False
    return keep


class ClusterBootstrap:
    """The hierarchical bootstrap of values in clusters: intervals of their mean, and of the ratio of two means.

    Clusters are drawn with replacement, each with all its values (Davison & Hinkley 1997, section 3.8): the noise of
    every level below is in the values already. Drawing values within clusters as well would count it twice, and the
    interval would be too wide. estimate +- t sqrt(g / (g - 1)) sd(resampled), t of g - 1 degrees of freedom: quantiles
    of the resampled statistic would be far too narrow for a handful of clusters. Of skewed values
    intervals of nominal 95 % cover 94 % with 24 clusters, and less with fewer.

    Args:
        clusters: (value,) to which each value belongs; g of them are different.
        seed: of the resamples, which are the same for all intervals.
    """

    def __init__(self, clusters: np.ndarray, n_resamples: int, seed: int | np.random.Generator):
        names, self._cluster = np.unique(np.asarray(clusters), return_inverse=True)
        self.n_clusters = len(names)
        drawn = np.random.default_rng(seed).integers(0, max(self.n_clusters, 1), (n_resamples, self.n_clusters))
        drawn += self.n_clusters * np.arange(n_resamples)[:, None]
        times = np.bincount(drawn.ravel(), minlength=n_resamples * self.n_clusters)
        self._times = times.reshape(n_resamples, self.n_clusters)  # (resample, cluster) how often it was drawn

    def mean(self, values: np.ndarray) -> Interval:
        """Mean of values (value,) without NaN; t and p are of a mean of 0."""
        values = np.asarray(values, dtype=float)
        columns = np.stack([values, np.ones(len(values))], axis=1)
        return self._interval(columns, lambda sums: sums[:, 0] / sums[:, 1])

    def ratio(self, numerator: np.ndarray, denominator: np.ndarray) -> Interval:
        """Ratio of the means of two values (value,) without NaN, on a logarithmic scale; t and p are of a ratio of 1.

        All NaN if one of the two means is not above zero; no interval if that of a resample is not.
        """
        columns = np.stack([np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)], axis=1)
        if not (columns.sum(0) > 0).all():
            return NO_INTERVAL

        def log_ratio(sums: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.log(sums[:, 0]) - np.log(sums[:, 1])

        estimate, low, high, t, p = self._interval(columns, log_ratio)
        return Interval(float(np.exp(estimate)), float(np.exp(low)), float(np.exp(high)), t, p)

    def _interval(self, columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> Interval:
        """Interval of a statistic of sums: (resample, column) -> (resample,), of columns (value, column)."""
        g = self.n_clusters
        if g == 0:
            return NO_INTERVAL
        sums = np.stack([np.bincount(self._cluster, column) for column in columns.T], axis=1)  # (cluster, column)
        estimate = float(statistic(sums.sum(0, keepdims=True))[0])
        if g == 1:
            return NO_INTERVAL._replace(estimate=estimate)
        resampled = statistic(self._times @ sums)
        if not np.isfinite(resampled).all():
            return NO_INTERVAL._replace(estimate=estimate)
        error = float(np.sqrt(g / (g - 1)) * resampled.std())
        if error <= 1e-12 * np.abs(resampled).max():  # all clusters are equal: nothing to judge by
            return Interval(estimate, estimate, estimate, np.nan, np.nan)
        half, t = scipy.stats.t.ppf((1 + LEVEL) / 2, g - 1) * error, estimate / error
        return Interval(
            estimate, float(estimate - half), float(estimate + half), t, float(2 * scipy.stats.t.sf(abs(t), g - 1))
        )


def fraction_interval(hits: np.ndarray, clusters: np.ndarray) -> Interval:
    """Fraction of hits among values in clusters, with the interval of Korn & Graubard (1998); t and p are NaN.

    That is the exact binomial interval of Clopper and Pearson for as many independent values as would be known equally
    well: n_eff = n f (1 - f) / ((n - 1) v) (n, if all or none are hits), times the squared ratio of the t quantiles of
    n - 1 and of g - 1 degrees of freedom, at most n; v = g / (g - 1) sum_c (hits_c - f n_c)^2 / n^2 is the variance of
    f between g clusters.

    Args:
        hits: (n,) bool; clusters: (n,) to which each belongs.
    """
    hits = np.asarray(hits, dtype=float)
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    n, g = len(hits), len(names)
    if g < 2:
        return NO_INTERVAL._replace(estimate=float(hits.mean()) if n else np.nan)
    fraction = hits.mean()
    residual = np.bincount(cluster, hits - fraction)
    variance = g / (g - 1) * (residual**2).sum() / n**2
    independent = n * fraction * (1 - fraction) / ((n - 1) * variance) if variance > 0 else n
    quantile = scipy.stats.t.ppf((1 + LEVEL) / 2, [n - 1, g - 1])
    effective = min(n, independent * (quantile[0] / quantile[1]) ** 2)
    found, missed = fraction * effective, (1 - fraction) * effective
    low = scipy.stats.beta.ppf((1 - LEVEL) / 2, found, missed + 1) if found > 0 else 0.0
    high = scipy.stats.beta.ppf((1 + LEVEL) / 2, found + 1, missed) if missed > 0 else 1.0
    return Interval(float(fraction), float(low), float(high), np.nan, np.nan)
