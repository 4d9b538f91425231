"""Oracle, bootstrap and shuffles: golden checks, independent reference computations, negative controls."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from neurostatic.data.reliability import (
    bootstrap_oracle,
    bootstrap_oracle_t_test,
    jackknife_ceiling,
    oracle,
    permutation_p,
    reliability_table,
)
from neurostatic.data.reliability.ceilings import cc_max, explainable_fraction
from neurostatic.data.reliability.oracle import average_ranks
from neurostatic.data.reliability.repeats import Repeats
from neurostatic.problems import InputError

NAN = float("nan")


def record(repeats, units, signal, noise=1.0, seed=0):
    """Gaussian responses of unequally repeated images in a random order of trials: responses, image."""
    rng = np.random.default_rng(seed)
    image = rng.permutation(np.repeat(np.arange(len(repeats)), repeats))
    of_image = rng.normal(size=(len(repeats), units)) * np.sqrt(signal)
    return of_image[image] + rng.normal(size=(len(image), units)) * np.sqrt(noise), image


def pairs(responses, image, least=5):
    """Single trials and the means of the other repeats, by the plainest loop."""
    single, others = [], []
    for trial, identity in enumerate(image):
        rest = [k for k in np.flatnonzero(image == identity) if k != trial]
        if len(rest) + 1 >= least:
            single.append(responses[trial])
            others.append(responses[rest].mean(0))
    return np.array(single), np.array(others)


def used_and_left_out(image, min_repeats=5):
    repeats = Repeats.of(image, min_repeats)
    return len(repeats.count), repeats.images_left_out


def test_oracle_leaves_the_trial_itself_out():
    """G15: means of the other repeats of 1..5 are 3.5 .. 2.5; upstream -0.8, 0.9, 0.3986324, its factor (n - 1)/n."""
    one = np.arange(1.0, 6.0)[:, None]
    correlation = oracle(one, np.zeros(5))
    np.testing.assert_allclose(correlation, [-1], atol=1e-12)
    assert used_and_left_out(np.zeros(5)) == (1, 0)
    two = np.repeat([1.0, 3.0], 5)
    a_b = np.array([0.0, 1, 0, 1, 3, 2, 4, 3, 3, 8])
    correlation = oracle(np.stack([two, a_b, np.ones(10)], 1), np.repeat([7, 5], 5))
    np.testing.assert_allclose(correlation, [1, 0.4429249, NAN], atol=5e-8)
    assert used_and_left_out(np.repeat([7, 5], 5)) == (2, 0)


def test_oracle_of_several_images():
    """C32 (published values are 14/15 of these), with the trials in any order."""
    i, j, n = np.meshgrid(np.arange(3), np.arange(5), np.arange(4), indexing="ij")
    responses = (0.37 * (i + 1) * (n + 1) + 0.05 * (j + 1) * (n + 1) ** 2) % 1
    responses, image = responses.reshape(15, 4), np.repeat(["x", "y", "z"], 5)
    published = np.array([0.881361, -0.665227, -0.651953, -0.657573])
    correlation = oracle(responses, image)
    np.testing.assert_allclose(correlation, published * 15 / 14, atol=2e-6)
    order = np.random.default_rng(0).permutation(15)
    np.testing.assert_allclose(oracle(responses[order], image[order]), correlation, atol=1e-12)


def test_every_image_has_its_own_number_of_repeats():
    responses, image = record([5, 9, 4, 12, 7, 1], 6, signal=2, noise=0.5)
    single, others = pairs(responses, image)
    correlation = oracle(responses, image)
    expected = [stats.pearsonr(single[:, unit], others[:, unit])[0] for unit in range(6)]
    np.testing.assert_allclose(correlation, expected, atol=1e-12)
    assert used_and_left_out(image) == (4, 2) and used_and_left_out(image, 2) == (5, 1)
    assert not np.allclose(oracle(responses, image, min_repeats=2), correlation)


def test_without_a_repeated_image_there_is_no_oracle():
    responses, image = record([4, 4, 3], 2, signal=1)
    correlation = oracle(responses, image)
    assert np.isnan(correlation).all() and correlation.shape == (2,)
    assert used_and_left_out(image) == (0, 3)
    assert np.isnan(permutation_p(responses, image, seed=0)).all()


def test_shapes_and_names_that_do_not_fit_are_errors():
    responses, image = record([5, 5], 2, signal=1)
    with pytest.raises(ValueError, match="9 identities for 10 trials"):
        oracle(responses, image[:-1])
    with pytest.raises(ValueError, match=r"shape \(10,\)"):
        oracle(responses[:, 0], image)
    with pytest.raises(ValueError, match="'kendall'"):
        oracle(responses, image, "kendall")
    with pytest.raises(ValueError, match="at least 2, got 1"):
        oracle(responses, image, min_repeats=1)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        oracle(responses, image, block_units=0)
    with pytest.raises(ValueError, match="n_permutations"):
        permutation_p(responses, image, 0, n_permutations=0)


@pytest.mark.parametrize(("repeats", "expected"), [(10, 0.6708), (5, 0.6325), (20, 0.6892)])
def test_expected_oracle_of_equal_signal_and_noise(repeats, expected):
    """G16."""
    responses, image = record([repeats] * 2000, 30, signal=1, seed=1)
    assert oracle(responses, image).mean() == pytest.approx(expected, abs=0.005)
    assert jackknife_ceiling(responses, image).mean() == pytest.approx(expected, abs=0.005)


def test_oracle_of_noise_is_slightly_negative():
    """G16: the other repeats lack just this trial, so the mean is -0.0055, never a spurious signal."""
    responses, image = record([10] * 100, 2000, signal=0, seed=2)
    correlation = oracle(responses, image)
    assert correlation.mean() == pytest.approx(-0.0055, abs=0.004)
    assert correlation.std() == pytest.approx(0.045, abs=0.01)


def test_shuffled_images_leave_no_oracle():
    responses, image = record([10] * 100, 1000, signal=1)
    assert oracle(responses, image).mean() > 0.6
    shuffled = np.random.default_rng(1).permuted(responses, axis=0)  # anew for each unit
    for method in ("pearson", "spearman"):
        assert oracle(shuffled, image, method).mean() == pytest.approx(-0.0055, abs=0.004)


def test_ties_share_the_average_of_their_ranks():
    """G17; upstream ranked 0, 1, 2, 4, 3."""
    assert average_ranks(np.array([[0.0, 0, 0, 5, 0]])).tolist() == [[2.5, 2.5, 2.5, 5, 2.5]]


def test_spearman_oracle_of_sparse_responses():
    responses, image = record([6] * 30, 5, signal=1, seed=3)
    responses = np.round(np.maximum(8 * responses - 8, 0)) / 8  # most trials silent
    single, others = pairs(responses, image)
    correlation = oracle(responses, image, "spearman")
    expected = [stats.spearmanr(single[:, unit], others[:, unit].round(12))[0] for unit in range(5)]
    np.testing.assert_allclose(correlation, expected, atol=1e-12)
    assert used_and_left_out(image) == (30, 0)


def test_spearman_sees_ranks_only():
    """A rising transform of the values ranked changes nothing; one extreme trial moves Pearson, not Spearman.

    The means of other repeats are taken before ranks, so that only linear transforms leave every response's oracle.
    """
    values = np.random.default_rng(0).normal(size=(3, 50)).round(1)
    np.testing.assert_array_equal(average_ranks(np.exp(values) ** 3), average_ranks(values))
    responses, image = record([8] * 50, 4, signal=1)
    before = oracle(responses, image, "spearman")
    np.testing.assert_allclose(oracle(8 * responses - 4, image, "spearman"), before, atol=1e-12)
    pearson_before = oracle(responses, image)
    responses[7] = 1e4
    assert (np.abs(oracle(responses, image, "spearman") - before) < 0.05).all()
    assert (np.abs(oracle(responses, image) - pearson_before) > 0.5).all()
    constant_and_missing = np.stack([np.full(400, 0.1), np.append(NAN, np.arange(399))], 1)
    assert np.isnan(oracle(constant_and_missing, image, "spearman")).all()


def test_half_precision_is_summed_in_double():
    responses, image = record([10] * 20, 3, signal=1)
    half = (responses * 1000 + 40000).astype(np.float16)  # the sum of two is beyond the largest half
    correlation = oracle(half, image)
    np.testing.assert_array_equal(correlation, oracle(half.astype(float), image))
    np.testing.assert_allclose(correlation, oracle(responses, image), atol=0.02)
    np.testing.assert_array_equal(
        permutation_p(half, image, 0, n_permutations=50), permutation_p(half.astype(float), image, 0, n_permutations=50)
    )


@pytest.mark.parametrize("block_units", [1, 2, 7, 64])
def test_the_size_of_a_block_changes_no_bit(block_units):
    responses, image = record([5, 8, 6, 30, 9] * 6, 65, signal=0.3)
    for method in ("pearson", "spearman"):
        expected = oracle(responses, image, method)
        np.testing.assert_array_equal(oracle(responses, image, method, block_units=block_units), expected)
    expected = permutation_p(responses, image, 3, n_permutations=30)
    np.testing.assert_array_equal(
        permutation_p(responses, image, 3, n_permutations=30, block_units=block_units), expected
    )
    expected = bootstrap_oracle(responses, image, range(3))
    xr.testing.assert_identical(bootstrap_oracle(responses, image, range(3), block_units=block_units), expected)


def test_the_oracle_of_many_units_needs_little_memory():
    """By proportion to units it must not grow: 100,000 units in double precision would be 800 MB a copy."""
    image = np.repeat(np.arange(100), 10)
    responses = np.zeros((1000, 20_000), np.float16)
    responses[::3] = 1
    tracemalloc.start()
    oracle(responses, image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


def test_permutation_p_counts_oracles_of_shuffled_labels():
    responses, image = record([5, 9, 6, 3, 7], 20, signal=0.05)
    kept = np.concatenate([np.flatnonzero(image == identity) for identity in (0, 1, 2, 4)])
    generator = np.random.default_rng(5)
    shuffles = generator.permuted(np.tile(np.arange(27), (99, 1)), axis=1)
    null = np.array([oracle(responses[kept][order], image[kept]) for order in shuffles])
    expected = (1 + (null >= oracle(responses, image)).sum(0)) / 100
    np.testing.assert_array_equal(permutation_p(responses, image, 5, n_permutations=99), expected)
    generator = np.random.default_rng(5)
    np.testing.assert_array_equal(permutation_p(responses, image, generator, n_permutations=99), expected)
    assert (permutation_p(responses, image, 6, n_permutations=99) != expected).any()
    assert len(np.unique(expected)) > 10


@pytest.mark.parametrize("repeats", [[5] * 20, [5, 6, 9, 25] * 5], ids=["equal", "unequal"])
def test_permutation_p_is_uniform_without_a_signal(repeats):
    rng = np.random.default_rng(0)
    image = rng.permutation(np.repeat(np.arange(20), repeats))
    noise = rng.exponential(size=(len(image), 1500)) ** 2
    p_values = permutation_p(noise, image, 1, n_permutations=199)
    assert stats.kstest(p_values, "uniform").pvalue > 0.02
    assert (p_values <= 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_permutation_p_is_small_for_a_signal():
    responses, image = record([10] * 100, 200, signal=0.2)
    assert (permutation_p(responses, image, 0, n_permutations=199) == 1 / 200).mean() > 0.95


def test_equal_oracles_count_as_reached_and_undefined_units_have_no_p():
    image = np.repeat([0, 1], 5)
    one_event = np.eye(10)[3]  # every shuffle gives the same oracle, up to rounding
    missing = np.append(NAN, np.arange(9))
    responses = np.stack([one_event, one_event / 3 + 0.1, np.full(10, 0.1), missing], 1)
    np.testing.assert_array_equal(permutation_p(responses, image, 0, n_permutations=50), [1, 1, NAN, NAN])


def test_bootstrap_draws_repeats_without_replacement_and_null_sets_of_different_images():
    """With as many draws as repeats a draw is the whole; with as many as images a null set holds every image."""
    responses, image = record([6] * 8, 4, signal=1)
    bootstrap = bootstrap_oracle(responses, image, range(5))
    assert bootstrap.attrs == {"images_used": 8, "images_left_out": 0, "trials_drawn": 6}
    np.testing.assert_allclose(bootstrap.true, np.tile(oracle(responses, image), (5, 1)), atol=1e-12)

    image = np.repeat(np.arange(5), [9, 12, 7, 8, 30])
    of_image = np.array([[0.0, 3.0], [1.0, 1.0], [5.0, 4.0], [2.0, 1.5], [9.0, 2.6]])[image]
    bootstrap = bootstrap_oracle(of_image, image, [3, 11])
    assert bootstrap.attrs["trials_drawn"] == 5 and bootstrap.seed.values.tolist() == [3, 11]
    np.testing.assert_allclose(bootstrap.true, 1, atol=1e-12)
    np.testing.assert_allclose(bootstrap.null, -1, atol=1e-12)


def test_bootstrap_uses_images_with_four_repeats_and_needs_two():
    responses, image = record([4, 3, 4, 6], 3, signal=1)
    bootstrap = bootstrap_oracle(responses, image, range(4))
    assert bootstrap.attrs == {"images_used": 3, "images_left_out": 1, "trials_drawn": 3}
    assert bootstrap.true.dims == bootstrap.null.dims == ("seed", "unit") and bootstrap.true.shape == (4, 3)
    with pytest.raises(InputError, match=r"1 images were shown at least 5 times.*3 were shown less"):
        bootstrap_oracle(responses, image, min_repeats=5)


def test_bootstrap_of_signal_and_noise():
    """Trials of different images are drawn from a finite set, so that those of a null set exclude each other.

    Their covariance is -S / (I - 1), that of a trial with the mean of 19 others too: -S / 59 / sqrt(2 * 2 / 19).
    """
    responses, image = record([20, 30] * 30, 100, signal=1)
    bootstrap = bootstrap_oracle(responses, image, range(10))
    assert float(bootstrap.true.mean()) == pytest.approx(0.6892, abs=0.02)
    assert float(bootstrap.null.mean()) == pytest.approx(-1 / 59 / np.sqrt(2 * 2 / 19), abs=0.02)
    again = bootstrap_oracle(responses, image, range(10))
    xr.testing.assert_identical(again, bootstrap)
    # a draw depends on its own seed only
    xr.testing.assert_identical(bootstrap_oracle(responses, image, [7]), bootstrap.sel(seed=[7]))
    assert (bootstrap.true[0] != bootstrap.true[1]).all() and (bootstrap.null[0] != bootstrap.null[1]).all()


def test_bootstrap_t_tests():
    rng = np.random.default_rng(0)
    true, null = rng.normal(0.1, 1, (30, 5)), rng.normal(0, 0.3, (30, 5))
    true[4, 2] = NAN  # a draw in which the unit was silent
    true[:, 4] = NAN
    bootstrap = xr.Dataset({"true": (("seed", "unit"), true), "null": (("seed", "unit"), null)})
    units, population = bootstrap_oracle_t_test(bootstrap)
    expected = stats.ttest_ind(true[:, :4], null[:, :4], equal_var=False, nan_policy="omit")
    np.testing.assert_allclose(units.p[:4], expected.pvalue, rtol=1e-9)
    np.testing.assert_allclose(units.t[:4], expected.statistic, rtol=1e-9)
    assert np.isnan(units.p[4]) and np.isnan(units.true[4])
    means = np.nanmean(true[:, :4], 0), null[:, :4].mean(0)
    np.testing.assert_allclose(units.true[:4], means[0])
    assert population == pytest.approx(stats.ttest_rel(*means).pvalue)
    assert np.isnan(bootstrap_oracle_t_test(bootstrap.isel(unit=[0]))[1])


def test_published_test_finds_signals_in_noise_and_the_shuffles_do_not():
    """Seeds resample the same trials: most units without a signal come out significant."""
    responses, image = record([10] * 30, 200, signal=0)
    units, _ = bootstrap_oracle_t_test(bootstrap_oracle(responses, image))
    assert (units.p < 0.05).mean() > 0.3
    assert (permutation_p(responses, image, 0, n_permutations=199) < 0.05).mean() < 0.1


def test_silent_draws_have_no_correlation():
    """Unit k answers trial k only: a draw of 6 of the 8 repeats of 6 images silences 12 of 48 units."""
    image = np.tile(np.arange(6), 8)
    bootstrap = bootstrap_oracle(np.eye(48) / 3 + 0.1, image, range(20))
    assert bootstrap.attrs["trials_drawn"] == 6
    assert (np.isnan(bootstrap.true).sum("unit") == 12).all()
    assert float(np.abs(bootstrap.true).max()) < 0.2
    constant = bootstrap_oracle(np.full((48, 2), 0.1), image, range(5))
    assert np.isnan(constant.true).all() and np.isnan(constant.null).all()


def test_the_table_holds_every_measure_of_the_same_trials():
    responses, image = record([10, 8, 4, 6] * 10, 40, signal=np.repeat([0.0, 2.0], 20))
    table = reliability_table(responses, image, 1, n_permutations=99)
    assert list(table.columns) == [
        "oracle", "oracle_spearman", "jackknife", "cc_max", "explainable", "p_repeat", "n_images", "n_trials",
    ]  # fmt: skip
    assert table.index.name == "unit" and len(table) == 40
    assert (table.n_images == 30).all() and (table.n_trials == 240).all()
    np.testing.assert_array_equal(table.oracle, oracle(responses, image))
    np.testing.assert_array_equal(table.oracle_spearman, oracle(responses, image, "spearman"))
    np.testing.assert_array_equal(table.jackknife, jackknife_ceiling(responses, image))
    np.testing.assert_array_equal(table.cc_max, cc_max(responses, image))
    np.testing.assert_array_equal(table.explainable, explainable_fraction(responses, image))
    np.testing.assert_array_equal(table.p_repeat, permutation_p(responses, image, 1, n_permutations=99))
    assert (table.p_repeat[20:] == 0.01).all() and table.p_repeat[:20].mean() > 0.3
    other = reliability_table(responses, image, 2, n_permutations=99, min_repeats=4)
    assert (other.n_images == 40).all() and (other.oracle != table.oracle).all()
    p_of_all = permutation_p(responses, image, 2, n_permutations=99, min_repeats=4)
    np.testing.assert_array_equal(other.p_repeat, p_of_all)
    for name in ("oracle_spearman", "cc_max", "explainable"):
        assert (other[name][20:] != table[name][20:]).all()
