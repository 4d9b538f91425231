"""Statistics that know nothing of neuroscience: correlation, tests, effect sizes, corrections for many tests."""

import numpy as np
import scipy


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation along the first axis, column by column.

    r = sum((a - mean a)(b - mean b)) / sqrt(sum((a - mean a)^2) sum((b - mean b)^2))

    Upstream multiplied by (n - 1)/n; here corr(a, a) == 1. A constant column gives NaN (it has no correlation),
    as does a column with a NaN in it.

    Args:
        a, b: (n, ...) arrays of one shape.

    Returns:
        (...) correlations.

    Raises ValueError if the shapes differ.
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

    Args:
        mean, sem, n of both samples: (...) of one shape.

    Returns:
        t, degrees of freedom, p (...).

    Source: Welch 1947.
    """
    mean_a, sem_a, n_a, mean_b, sem_b, n_b = (
        np.asarray(value, dtype=float) for value in (mean_a, sem_a, n_a, mean_b, sem_b, n_b)
    )
    variance = sem_a**2 + sem_b**2
    defined = (n_a > 1) & (n_b > 1) & (variance > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(defined, (mean_a - mean_b) / np.sqrt(variance), np.nan)
        df = np.where(defined, variance**2 / (sem_a**4 / (n_a - 1) + sem_b**4 / (n_b - 1)), np.nan)
    return t, df, 2 * scipy.stats.t.sf(np.abs(t), df)


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
    statistic, p = scipy.stats.wilcoxon(difference) if difference.any() else (np.nan, np.nan)
    return n, float((difference > 0).mean()), float(statistic), float(p)


def rank_biserial(difference: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation, the effect size of Wilcoxon's signed-rank test (Kerby 2014).

    r = (R+ - R-) / (R+ + R-), R the sums of the ranks of |difference| where it is above and below zero; 1 if every
    difference is positive, 0 if there is no preference. Zeros and NaN are left out; NaN if nothing is left.
    """
    difference = np.asarray(difference, dtype=float)
    difference = difference[np.isfinite(difference) & (difference != 0)]
    ranks = scipy.stats.rankdata(np.abs(difference))
    return float((np.sign(difference) * ranks).sum() / ranks.sum()) if len(ranks) else np.nan


def hedges_g(
    mean_a: np.ndarray,
    variance_a: np.ndarray,
    n_a: np.ndarray,
    mean_b: np.ndarray,
    variance_b: np.ndarray,
    n_b: np.ndarray,
) -> np.ndarray:
    """Standardized difference of two means, corrected for small samples, element by element (Hedges 1981).

    g = (mean_a - mean_b) / sqrt((variance_a + variance_b) / 2) (1 - 3 / (4 (n_a + n_b) - 9)). The two variances count
    alike, as Welch's test does not take them for equal (Delacre et al. 2021).

    Returns:
        g; NaN where a sample has fewer than 2 values or where nothing varies.
    """
    mean_a, variance_a, n_a, mean_b, variance_b, n_b = (
        np.asarray(value, dtype=float) for value in (mean_a, variance_a, n_a, mean_b, variance_b, n_b)
    )
    variance = (variance_a + variance_b) / 2
    defined = (n_a > 1) & (n_b > 1) & (variance > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, (mean_a - mean_b) / np.sqrt(variance) * (1 - 3 / (4 * (n_a + n_b) - 9)), np.nan)
