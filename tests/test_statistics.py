"""Floor 0 statistics: correlation, false discovery rate, Welch from summaries, the permutation of rows."""

import numpy as np
import pytest
from scipy import stats

from neurostatic.statistics import benjamini_hochberg, compare_pairs, pearson, welch_from_summary


def test_pearson_agrees_with_scipy_and_is_one_with_itself():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    expected = [stats.pearsonr(a[:, i], b[:, i]).statistic for i in range(4)]
    np.testing.assert_allclose(pearson(a, b), expected, rtol=1e-12)
    np.testing.assert_allclose(pearson(a, a), 1.0, rtol=1e-12)
    np.testing.assert_allclose(pearson(a, 3 - 2 * a), -1.0, rtol=1e-12)


def test_pearson_of_a_constant_or_missing_column_is_nan_and_leaves_the_others():
    a = np.array([[1.0, 1.0, 1.0], [2.0, 1.0, np.nan], [4.0, 1.0, 3.0]])
    b = np.array([[2.0, 1.0, 1.0], [4.0, 2.0, 2.0], [8.0, 4.0, 3.0]])
    np.testing.assert_allclose(pearson(a, b), [1.0, np.nan, np.nan])


def test_pearson_of_a_constant_that_floats_cannot_average_is_nan():
    assert np.isnan(pearson(np.full((3, 1), 0.1), np.array([[1.0], [2.0], [4.0]]))).all()


def test_pearson_refuses_other_shapes():
    with pytest.raises(ValueError, match="shapes differ"):
        pearson(np.zeros((3, 1)), np.zeros((3, 2)))


def test_benjamini_hochberg_agrees_with_scipy_and_keeps_nan_out_of_the_count():
    p = np.array([0.04, 0.001, 0.03, 0.5, 0.039, 1.0])
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p), rtol=1e-12)
    with_nan = np.insert(p, 2, np.nan)
    q = benjamini_hochberg(with_nan)
    assert np.isnan(q[2])
    np.testing.assert_allclose(np.delete(q, 2), benjamini_hochberg(p))
    assert benjamini_hochberg(np.array([])).size == 0


def test_welch_from_summary_agrees_with_scipy_on_the_samples():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, size=12), rng.normal(0, 3, size=7)
    t, df, p = welch_from_summary(a.mean(), stats.sem(a), 12, b.mean(), stats.sem(b), 7)
    expected = stats.ttest_ind(a, b, equal_var=False)
    np.testing.assert_allclose([t, df, p], [expected.statistic, expected.df, expected.pvalue], rtol=1e-10)


def test_welch_from_summary_is_nan_where_there_is_nothing_to_compare():
    sem_a, sem_b = [0.1, np.nan, 0.0], [0.1, 0.1, 0.0]
    t, df, p = welch_from_summary([2, 2, 2], sem_a, [5, 1, 5], [1, 1, 1], sem_b, 5)
    assert np.isnan([t[1:], df[1:], p[1:]]).all()
    np.testing.assert_allclose(df[0], 8)


def test_pairs_are_compared_by_their_signed_ranks():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 30), rng.normal(0, 1, 30)
    expected = stats.wilcoxon(a, b)
    found = compare_pairs(np.append(a, np.nan), np.append(b, 1.0))
    assert found == (30, (a > b).mean(), expected.statistic, expected.pvalue)
    assert compare_pairs([1.0, 1.0], [1.0, 1.0])[:2] == (2, 0.0) and np.isnan(compare_pairs([1.0, 1.0], [1.0, 1.0])[3])
    assert compare_pairs([1.0], [0.0])[0] == 1 and np.isnan(compare_pairs([1.0], [0.0])[1:]).all()
