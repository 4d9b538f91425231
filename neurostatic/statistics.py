"""Statistics that know nothing of neuroscience: correlation, resampling, corrections for many tests."""

import itertools
import math

import numpy as np
from scipy import stats


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation along the first axis, column by column.

    r = sum((a - mean a)(b - mean b)) / sqrt(sum((a - mean a)^2) sum((b - mean b)^2))

    Upstream multiplied by (n - 1)/n; here corr(a, a) == 1. A constant column gives NaN (it has no correlation),
    as does a column with a NaN in it.

    Args:
        a, b: (n, ...) arrays of one shape.

    Returns:
        (...) correlations.
    """
    a = np.asarray(a, dtype=float)
    b = np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"pearson: shapes differ, {a.shape} and {b.shape}")
    constant = (a == a[:1]).all(0) | (b == b[:1]).all(0)  # exact: the mean of a constant may round
    a = a - a.mean(0)
    b = b - b.mean(0)
    power = (a**2).sum(0) * (b**2).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(constant, np.nan, (a * b).sum(0) / np.sqrt(power))


def slope_through_origin(x: np.ndarray, y: np.ndarray) -> float:
    """Slope of y on x through the origin, sum(x y) / sum(x^2); pairs with a NaN are left out, NaN if none is left.

    Of test correlation on oracle it is the fraction of the oracle that a model reaches.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    both = np.isfinite(x) & np.isfinite(y)
    power = (x[both] ** 2).sum()
    return float((x[both] * y[both]).sum() / power) if power > 0 else np.nan


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """False-discovery-rate q values, q_(i) = min_{j >= i} p_(j) n / j (Benjamini & Hochberg 1995).

    NaN p values stay NaN and are not counted in n.
    """
    p_values = np.asarray(p_values, dtype=float)
    q_values = np.full(p_values.shape, np.nan)
    valid = np.flatnonzero(~np.isnan(p_values))
    order = valid[np.argsort(p_values[valid], kind="stable")]
    n = len(order)
    scaled = p_values[order] * n / np.arange(1, n + 1)
    q_values[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q_values


def welch_from_summary(
    mean_a: np.ndarray,
    sem_a: np.ndarray,
    n_a: np.ndarray,
    mean_b: np.ndarray,
    sem_b: np.ndarray,
    n_b: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Welch's two-tailed t test from means, standard errors and numbers of samples, element by element.

    t = (mean_a - mean_b) / sqrt(sem_a^2 + sem_b^2),
    df = (sem_a^2 + sem_b^2)^2 / (sem_a^4 / (n_a - 1) + sem_b^4 / (n_b - 1))

    NaN where a sample has fewer than 2 values, or where both standard errors are 0 (no noise to judge by).

    Returns:
        t, degrees of freedom, p.
    """
    mean_a, sem_a, n_a, mean_b, sem_b, n_b = (
        np.asarray(value, dtype=float) for value in (mean_a, sem_a, n_a, mean_b, sem_b, n_b)
    )
    variance = sem_a**2 + sem_b**2
    defined = (n_a > 1) & (n_b > 1) & (variance > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(defined, (mean_a - mean_b) / np.sqrt(variance), np.nan)
        df = np.where(defined, variance**2 / (sem_a**4 / (n_a - 1) + sem_b**4 / (n_b - 1)), np.nan)
    return t, df, 2 * stats.t.sf(np.abs(t), df)


def row_permutation_test(
    matrix: np.ndarray, n_permutations: int, seed: int | np.random.Generator
) -> tuple[float, float]:
    """Is the trace of a square matrix larger than after shuffling its rows? One-sided.

    p = (1 + #{shuffled trace >= trace}) / (1 + n_permutations), over random shuffles. Where n! is at most
    n_permutations every order of the rows is taken once, and p = #{its trace >= trace} / n! is exact.

    Args:
        matrix: (n, n) without NaN.

    Returns:
        trace, p.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or np.isnan(matrix).any():
        raise ValueError(f"row_permutation_test: a square matrix without NaN is needed, got {matrix.shape}")
    n = len(matrix)
    exact = math.factorial(n) <= n_permutations
    if exact:
        orders = np.array(list(itertools.permutations(range(n))), dtype=int)
    else:
        orders = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)
    trace = float(matrix.diagonal().sum())
    shuffled = matrix[orders, np.arange(n)].sum(1)
    # Equal sums may differ in their last digits with the order of their terms: they count as reached.
    reached = int((shuffled >= trace - 1e-12 * np.abs(matrix).sum()).sum())
    if exact:
        return trace, reached / len(orders)
    return trace, (1 + reached) / (1 + n_permutations)


def compare_pairs(first: np.ndarray, second: np.ndarray) -> tuple[int, float, float, float]:
    """Is the first of a pair larger than the second, over many pairs? Wilcoxon's signed-rank test, two-sided.

    Args:
        first, second: (n,); pairs with a NaN are left out.

    Returns:
        (number of pairs, fraction of pairs with first > second, statistic: the smaller rank sum, p value); NaN for
        fewer than 2 pairs, statistic and p also where all pairs are equal.
    """
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if n < 2:
        return n, np.nan, np.nan, np.nan
    statistic, p = stats.wilcoxon(difference) if difference.any() else (np.nan, np.nan)
    return n, float((difference > 0).mean()), float(statistic), float(p)
