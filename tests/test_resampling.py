"""Floor 0 resampling: tests by permutation are exact, intervals cover what they say; both where they must fail."""

import numpy as np
import pytest
from scipy import stats

from neurostatic.resampling import ClusterBootstrap, diagonal_test, fraction_interval

N_STUDIES = 500


def within_error(hits: np.ndarray, rate: float) -> bool:
    """Whether a rate over independent studies is the nominal one within 3 standard errors."""
    return abs(np.mean(hits) - rate) < 3 * np.sqrt(rate * (1 - rate) / len(hits))


def clustered(rng, n_clusters, cluster_spread, values_per_cluster=30, n_trials=10):
    """Mean responses of units: log-normal over clusters and units, and noisy by a few trials; and their true ratio."""
    cluster = np.repeat(
        np.arange(n_clusters), rng.integers(values_per_cluster // 2, values_per_cluster * 2, n_clusters)
    )
    base = rng.gamma(4, 0.25, len(cluster))
    effect = np.exp(rng.normal(0, cluster_spread, n_clusters)[cluster] + rng.normal(0, 0.3, len(cluster)))
    first = rng.gamma(n_trials, 1.5 * base * effect / n_trials)
    second = rng.gamma(n_trials, base / n_trials)
    true_ratio = 1.5 * np.exp((cluster_spread**2 + 0.3**2) / 2)
    return first, second, cluster, true_ratio


def test_all_orders_are_taken_when_they_are_few():
    assert diagonal_test([np.eye(3)], 10_000, seed=0) == (3.0, 1 / 6, 3, 1 / 6)
    for flat in (np.full((3, 3), 0.1), np.zeros((3, 3)), -np.eye(3)):
        assert diagonal_test([flat], 10_000, seed=0)[1:] == (1.0, 0, 1.0)


def test_orders_at_random_never_give_zero_and_repeat_with_the_seed():
    assert diagonal_test([np.eye(12)], 999, seed=0) == (12.0, 1 / 1000, 12, 1 / 1000)
    noise = np.random.default_rng(2).normal(size=(12, 12))
    assert diagonal_test([noise], 999, seed=3) == diagonal_test([noise], 999, seed=3)
    assert diagonal_test([noise], 999, seed=3) != diagonal_test([noise], 999, seed=4)


def test_orders_at_random_approach_the_exact_p():
    noise = np.random.default_rng(4).normal(size=(6, 6)) + 0.5 * np.eye(6)
    exact = diagonal_test([noise], 720, seed=0)
    # one order fewer than 6! forces the random branch
    drawn = np.array([diagonal_test([noise], 719, seed=seed) for seed in range(20)])
    assert 0.01 < exact.trace_p < 0.9 and 0.001 < exact.n_best_p < 0.9
    np.testing.assert_allclose(drawn[:, [1, 3]].mean(0), [exact.trace_p, exact.n_best_p], atol=0.02)


def test_matrices_are_shuffled_each_within_itself():
    # Between the two all mass is on the diagonal blocks: shuffling rows across them would make any order look poor.
    rng = np.random.default_rng(0)
    strong, weak = rng.normal(10, 1, (8, 8)), rng.normal(0, 1, (8, 8))
    p = np.array([diagonal_test([rng.permutation(strong), rng.permutation(weak)], 199, rng)[1] for _ in range(400)])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    together = diagonal_test([np.eye(4), np.eye(5)], 4999, seed=0)
    assert together[::2] == (9.0, 9)
    np.testing.assert_allclose(together.trace_p, 1 / (24 * 120), atol=5e-4)


def test_p_values_of_noise_are_uniform():
    rng = np.random.default_rng(5)
    found = np.array([diagonal_test([rng.normal(size=(9, 9))], 199, seed=rng) for _ in range(4000)])
    assert abs(found[:, 1].mean() - 0.5) < 0.02  # 4 standard errors
    assert within_error(found[:, 1] <= 0.05, 0.05)
    # A count is coarse: its test may reject less often than it says, never more.
    assert 0.005 < (found[:, 3] <= 0.05).mean() < 0.05 + 0.01


def test_a_tie_is_no_preference():
    assert diagonal_test([np.array([[1.0, 0.0], [1.0, 3.0]])], 10, seed=0).n_best == 1


def test_what_is_not_a_full_square_is_refused():
    for matrix in (np.zeros((2, 3)), np.array([[1.0, np.nan], [0.0, 1.0]])):
        with pytest.raises(ValueError, match="square matrix"):
            diagonal_test([matrix], 10, seed=0)


@pytest.mark.parametrize(("n_clusters", "spread"), [(2, 0.2), (5, 0.0), (5, 0.3), (60, 0.1)])
def test_intervals_of_ratios_and_means_cover_at_their_rate(n_clusters, spread):
    rng = np.random.default_rng(n_clusters)
    covered = []
    for _ in range(N_STUDIES):
        first, second, cluster, true_ratio = clustered(rng, n_clusters, spread)
        ratio = ClusterBootstrap(cluster, 300, rng).ratio(first, second)
        mean = ClusterBootstrap(cluster, 300, rng).mean(first - second)
        covered.append([ratio.low <= true_ratio <= ratio.high, mean.low <= true_ratio - 1 <= mean.high])
    covered = np.array(covered)
    # Skewed means of 5 clusters cost up to 3 %.
    assert within_error(covered[:, 0], 0.95) and 0.91 < covered[:, 1].mean() < 0.98


def test_other_ways_to_resample_miss_their_rate():
    """Quantiles of the resampled statistic are too narrow, drawing units within animals as well is too wide."""
    rng = np.random.default_rng(1)
    quantiles, nested = [], []
    for _ in range(150):
        first, second, cluster, true_ratio = clustered(rng, 5, 0.0)
        units = [np.flatnonzero(cluster == c) for c in range(5)]
        drawn, inner = [], []
        for _ in range(200):
            animals = rng.integers(0, 5, 5)
            kept = np.concatenate([units[a] for a in animals])
            drawn.append(np.log(first[kept].sum() / second[kept].sum()))
            kept = np.concatenate([rng.choice(units[a], len(units[a])) for a in animals])
            inner.append(np.log(first[kept].sum() / second[kept].sum()))
        low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
        quantiles.append(low <= true_ratio <= high)
        half = stats.t.ppf(0.975, 4) * np.sqrt(5 / 4) * np.std(inner)
        nested.append(abs(np.log(first.sum() / second.sum()) - np.log(true_ratio)) <= half)
    assert np.mean(quantiles) < 0.90
    assert np.mean(nested) > 0.975


@pytest.mark.parametrize("n_clusters", [5, 40])
def test_intervals_of_fractions_cover_at_least_at_their_rate(n_clusters):
    rng = np.random.default_rng(n_clusters)
    covered, width = [], []
    for _ in range(N_STUDIES):
        rate = rng.beta(14, 6, n_clusters)  # of each cluster; 0.7 on average
        cluster = np.repeat(np.arange(n_clusters), 20)
        found = fraction_interval(rng.random(len(cluster)) < rate[cluster], cluster)
        covered.append(found.low <= 0.7 <= found.high)
        width.append(found.high - found.low)
    assert 0.93 < np.mean(covered) < 0.995
    assert np.median(width) < (0.45 if n_clusters == 5 else 0.1)


def test_fraction_of_independent_values_is_that_of_clopper_and_pearson():
    hits = np.arange(30) < 21
    expected = stats.binomtest(21, 30).proportion_ci(method="exact")
    np.testing.assert_allclose(fraction_interval(hits, np.arange(30))[1:3], expected)
    everyone = fraction_interval(np.ones(30), np.arange(30))
    np.testing.assert_allclose(everyone[:3], (1.0, stats.binomtest(30, 30).proportion_ci(method="exact").low, 1.0))
    assert fraction_interval(np.zeros(30), np.arange(30))[:2] == (0.0, 0.0)


def test_a_fraction_of_one_knows_no_more_than_its_animals_tell():
    """Rates near one, of which all studies of a few animals are whole: they must not be taken for certain."""
    rng, covered = np.random.default_rng(0), []
    cluster = np.repeat(np.arange(5), 20)
    for _ in range(N_STUDIES):
        rate = rng.beta(2, 0.1, 5)  # 0.952 on average
        found = fraction_interval(rng.random(len(cluster)) < rate[cluster], cluster)
        covered.append(found.low <= 2 / 2.1 <= found.high)
    assert np.mean(covered) > 0.93
    assert (
        fraction_interval(np.ones(40), np.repeat([0, 1], 20)).low
        < 0.5
        < fraction_interval(np.ones(40), np.arange(40)).low
    )


def test_a_mean_of_independent_values_has_the_interval_and_p_of_the_t_test():
    values = np.random.default_rng(0).normal(0.3, 1, 40)
    found = ClusterBootstrap(np.arange(40), 200_000, 0).mean(values)
    expected = stats.ttest_1samp(values, 0)
    np.testing.assert_allclose(found[:3], (values.mean(), *expected.confidence_interval()), rtol=0.01)
    np.testing.assert_allclose([found.t, found.p_value], [expected.statistic, expected.pvalue], rtol=0.03)


def test_p_values_of_no_difference_are_uniform():
    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(6), 20)
    p = [
        ClusterBootstrap(cluster, 1000, rng).mean(rng.normal(size=6)[cluster] + rng.normal(size=120)).p_value
        for _ in range(N_STUDIES)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    # taking the units of an animal as independent finds differences where there are none
    naive = [stats.ttest_1samp(rng.normal(size=6)[cluster] + rng.normal(size=120), 0).pvalue for _ in range(N_STUDIES)]
    assert np.mean(np.array(naive) < 0.05) > 0.2


def test_too_few_clusters_have_no_interval():
    one = np.zeros(5)
    assert ClusterBootstrap(one, 100, 0).mean(np.arange(5.0)).estimate == 2.0
    assert np.isnan(ClusterBootstrap(one, 100, 0).mean(np.arange(5.0))[1:]).all()
    assert np.isnan(ClusterBootstrap(np.array([]), 100, 0).mean(np.array([]))).all()
    assert ClusterBootstrap(one, 100, 0).ratio(np.full(5, 3.0), np.full(5, 2.0)).estimate == pytest.approx(1.5)
    assert np.isnan(ClusterBootstrap(np.arange(5), 100, 0).ratio(np.full(5, 3.0), np.full(5, -2.0))).all()
    assert fraction_interval(np.array([1, 0]), np.zeros(2))[0] == 0.5
    constant = ClusterBootstrap(np.arange(5), 100, 0).mean(np.full(5, 0.1))
    assert constant[:3] == (0.1,) * 3 and np.isnan(constant.p_value)  # nothing to judge by
    below = ClusterBootstrap(np.arange(2), 100, 0).ratio(np.array([5.0, -1.0]), np.array([2.0, 1.0]))
    assert below.estimate == pytest.approx(4 / 3) and np.isnan(below[1:]).all()  # one mean of the two has no logarithm


def test_the_seed_decides():
    values, cluster = np.random.default_rng(0).normal(size=30), np.arange(30)
    a, b, c = (ClusterBootstrap(cluster, 500, seed).mean(values) for seed in (1, 1, 2))
    assert a == b != c
