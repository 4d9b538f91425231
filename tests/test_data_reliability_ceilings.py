"""Ceilings against simulated units whose ceiling is known, against published formulas, and where they do not exist."""

import itertools
import warnings

import numpy as np
import pytest

from neurostatic.data.reliability import (
    cc_max,
    cc_norm,
    explainable_fraction,
    feve,
    jackknife_ceiling,
    noise_power,
    oracle,
    permutation_p,
    reliability_table,
    signal_power,
    single_trial_ceiling,
)

NAN = float("nan")
CEILINGS = (signal_power, noise_power, explainable_fraction, single_trial_ceiling, cc_max, jackknife_ceiling)


class Recording:
    """Gaussian signal and noise of known variances, 200 images, 500 units, trials in a random order.

    The signal is the sum of two independent halves; the noise variance may differ from image to image.
    """

    def __init__(self, repeats, signal, noise, seed=0):
        rng = np.random.default_rng(seed)
        self.repeats, self.noise = np.asarray(repeats), np.broadcast_to(noise, len(repeats))
        self.image = rng.permutation(np.repeat(np.arange(len(repeats)), repeats))
        self.half, other = (3 + np.sqrt(signal / 2) * rng.normal(size=(2, len(repeats), 500)))[:, self.image]
        self.signal = self.half + other
        noise_sd = np.sqrt(self.noise[self.image])[:, None]
        self.responses = self.signal + noise_sd * rng.normal(size=self.signal.shape)


@pytest.fixture(scope="module", params=["equal", "unequal"])
def recording(request):
    """Unequal: images shown often are also the noisy ones, which an estimate that pools all trials gets wrong."""
    if request.param == "equal":
        return Recording([8] * 200, signal=2.0, noise=3.0)
    return Recording([5, 6, 10, 20] * 50, signal=2.0, noise=[1.0, 1.0, 2.0, 8.0] * 50)


def test_powers_are_not_biased(recording):
    assert signal_power(recording.responses, recording.image).mean() == pytest.approx(2, abs=0.04)
    assert noise_power(recording.responses, recording.image).mean() == pytest.approx(3, abs=0.02)
    noise = recording.responses - recording.signal
    assert signal_power(noise, recording.image).mean() == pytest.approx(0, abs=0.01)
    assert (signal_power(noise, recording.image) < 0).mean() == pytest.approx(0.5, abs=0.1)


def test_explainable_fraction_and_single_trial_ceiling(recording):
    assert explainable_fraction(recording.responses, recording.image).mean() == pytest.approx(0.4, abs=0.01)
    ceiling = single_trial_ceiling(recording.responses, recording.image)
    assert ceiling.mean() == pytest.approx(np.sqrt(0.4), abs=0.01)


def test_single_trial_ceiling_is_what_the_true_signal_reaches():
    recording = Recording([8] * 200, signal=2.0, noise=3.0, seed=1)
    reached = [np.corrcoef(recording.signal[:, k], recording.responses[:, k])[0, 1] for k in range(500)]
    ceiling = single_trial_ceiling(recording.responses, recording.image)
    assert np.mean(ceiling - reached) == pytest.approx(0, abs=0.003)
    assert (oracle(recording.responses, recording.image) < reached).all()  # the oracle is itself noisy


def test_cc_max(recording):
    expected = np.sqrt(2 / (2 + np.mean(recording.noise / recording.repeats)))
    assert cc_max(recording.responses, recording.image).mean() == pytest.approx(expected, abs=0.005)


def test_cc_norm_of_perfect_and_half_right_models(recording):
    image, responses = recording.image, recording.responses
    assert cc_norm(recording.signal, responses, image).mean() == pytest.approx(1, abs=0.005)
    assert cc_norm(recording.half, responses, image).mean() == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert cc_norm(5 - 2 * recording.half, responses, image).mean() == pytest.approx(-np.sqrt(0.5), abs=0.01)


def test_feve_of_perfect_half_right_and_constant_models(recording):
    image, responses = recording.image, recording.responses
    assert feve(recording.signal, responses, image).mean() == pytest.approx(1, abs=0.005)
    assert feve(recording.half + 3, responses, image).mean() == pytest.approx(0.5, abs=0.015)
    assert feve(np.full_like(responses, 6), responses, image).mean() == pytest.approx(0, abs=0.02)
    offset = feve(recording.signal + np.sqrt(2), responses, image)
    assert offset.mean() == pytest.approx(0, abs=0.03)  # unlike a correlation, it sees an error of scale or offset


def test_cc_norm_and_feve_of_single_trial_predictions():
    """A prediction may differ from trial to trial of an image: CC_norm takes its mean, FEVE every trial."""
    recording = Recording([8] * 200, signal=2.0, noise=3.0, seed=2)
    image, responses = recording.image, recording.responses
    swing = np.zeros(len(image))
    for trials in (np.flatnonzero(image == identity) for identity in range(200)):
        swing[trials[::2]], swing[trials[1::2]] = 1, -1
    predicted = recording.signal + swing[:, None]
    np.testing.assert_allclose(
        cc_norm(predicted, responses, image), cc_norm(recording.signal, responses, image), atol=1e-12
    )
    assert feve(predicted, responses, image).mean() == pytest.approx(1 - 1 / 2, abs=0.02)
    assert (feve(responses, responses, image) > 1).all()  # predicts the noise too


def test_cc_norm_is_the_correlation_as_a_fraction_of_cc_max(recording):
    image, responses = recording.image, recording.responses
    means = np.array([responses[image == identity].mean(0) for identity in range(200)])
    predicted = np.array([recording.half[image == identity][0] for identity in range(200)])
    absolute = np.array([np.corrcoef(means[:, k], predicted[:, k])[0, 1] for k in range(500)])
    expected = absolute / cc_max(responses, image)
    np.testing.assert_allclose(cc_norm(recording.half, responses, image), expected, rtol=1e-10)


def test_signal_power_is_schoppes_averaged_over_all_numberings_of_the_repeats():
    """(Var(sum_n R_n) - sum_n Var(R_n)) / (N (N - 1)) pairs the n-th repeats of the images."""
    responses = np.random.default_rng(0).normal(size=(3, 2, 4))
    values = []
    for swaps in itertools.product([False, True], repeat=3):
        numbered = np.array([image[::-1] if swap else image for image, swap in zip(responses, swaps, strict=True)])
        of_sum, of_each = numbered.sum(1).var(0, ddof=1), numbered.var(0, ddof=1).sum(0)
        values.append((of_sum - of_each) / 2)
    power = signal_power(responses.reshape(6, 4), np.repeat([0, 1, 2], 2), min_repeats=2)
    np.testing.assert_allclose(power, np.mean(values, 0), atol=1e-12)
    assert np.ptp(values, axis=0).min() > 0.01  # a single numbering says something else


def test_explainable_variance_differs_from_cadenas_by_a_known_factor():
    """1 - (MSE - noise variance) / (variance of all trials - noise variance), as published, for equal repeats."""
    recording = Recording([8] * 200, signal=2.0, noise=3.0, seed=3)
    image, responses = recording.image, recording.responses
    noise = np.mean([responses[image == identity].var(0, ddof=1) for identity in range(200)], 0)
    total = responses.var(0, ddof=1)
    published = 1 - (((responses - recording.half) ** 2).mean(0) - noise) / (total - noise)
    factor = 8 * 199 / (200 * 8 - 1)
    np.testing.assert_allclose(1 - feve(recording.half, responses, image), (1 - published) * factor, rtol=1e-10)
    np.testing.assert_allclose(total - noise, signal_power(responses, image) * factor, rtol=1e-10)
    np.testing.assert_allclose(noise_power(responses, image), noise, rtol=1e-12)


def test_jackknife_ceiling_has_the_oracles_limit_and_no_bias_in_noise():
    rng = np.random.default_rng(0)
    image = rng.permutation(np.repeat(np.arange(10), 5))
    noise = rng.normal(size=(50, 4000))
    assert jackknife_ceiling(noise, image).mean() == pytest.approx(0, abs=0.006)
    assert oracle(noise, image).mean() < -0.04


def test_jackknife_ceiling_takes_each_repeat_in_turn():
    rng = np.random.default_rng(1)
    image = rng.permutation(np.repeat(np.arange(6), [5, 7, 6, 5, 9, 4]))
    responses = rng.normal(size=(36, 2)) + image[:, None] / 3
    trials = [np.flatnonzero(image == identity) for identity in range(5)]
    correlations = []
    for k in range(5):
        single = np.array([responses[rows[k]] for rows in trials])
        others = np.array([responses[np.delete(rows, k)].mean(0) for rows in trials])
        correlations.append([np.corrcoef(single[:, u], others[:, u])[0, 1] for u in range(2)])
    np.testing.assert_allclose(jackknife_ceiling(responses, image), np.mean(correlations, 0), atol=1e-12)


def test_a_silent_repeat_counts_zero_in_the_jackknife_ceiling():
    image = np.tile(np.arange(4), 5)
    responses = np.zeros((20, 1))
    responses[0] = responses[4] = 1  # image 0, its first two repeats
    assert jackknife_ceiling(responses, image)[0] == pytest.approx(2 / 5)


def test_ceilings_are_nan_where_they_do_not_exist_and_nobody_is_warned():
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(8), [5, 6, 7, 5, 6, 7, 5, 11])
    responses = rng.normal(size=(52, 6)) + image[:, None]
    responses[:, 0] = 0.1  # constant; its mean over 6 or 7 trials rounds
    responses[3, 1] = NAN
    responses[:, 2] = np.concatenate([rng.permutation(np.linspace(-1, 1, r)) for r in np.bincount(image)])  # no signal
    predicted = image[:, None] + np.zeros((52, 6))
    predicted[:, 3] = 0.1
    predicted[9, 4] = NAN
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        undefined = {ceiling: np.isnan(ceiling(responses, image)).nonzero()[0].tolist() for ceiling in CEILINGS}
        assert undefined == {
            signal_power: [1], noise_power: [1], explainable_fraction: [0, 1, 2], single_trial_ceiling: [0, 1, 2],
            cc_max: [0, 1, 2], jackknife_ceiling: [0, 1],
        }  # fmt: skip
        assert signal_power(responses, image)[0] == noise_power(responses, image)[0] == 0
        assert signal_power(responses, image)[2] < 0
        assert np.isnan(cc_norm(predicted, responses, image)).tolist() == [True] * 5 + [False]
        assert np.isnan(feve(predicted, responses, image)).tolist() == [True, True, True, False, True, False]
        table = reliability_table(responses, image, 0, n_permutations=20)
        assert table.isna().any(axis=1).tolist() == [True] * 3 + [False] * 3

        one_image = image == 7
        for ceiling in CEILINGS:
            assert np.isnan(ceiling(responses[one_image], image[one_image])).all()
            assert np.isnan(ceiling(responses, np.arange(52))).all()
        for score in (cc_norm, feve):
            assert np.isnan(score(predicted[one_image], responses[one_image], image[one_image])).all()
            assert np.isnan(score(predicted, responses, np.arange(52))).all()
        assert permutation_p(responses[one_image], image[one_image], 0, n_permutations=20)[5] == 1
        none = reliability_table(responses, np.arange(52), 0)
        assert none.drop(columns=["n_images", "n_trials"]).isna().all(axis=None) and (none.n_trials == 0).all()


def test_noiseless_units_reach_their_ceilings():
    image = np.repeat(np.arange(4), [5, 6, 7, 8])
    responses = np.array([1.0, 4.0, 2.0, 9.0])[image][:, None]
    for ceiling in (explainable_fraction, single_trial_ceiling, cc_max, jackknife_ceiling):
        np.testing.assert_allclose(ceiling(responses, image), 1, atol=1e-12)
    np.testing.assert_allclose(signal_power(responses, image), np.var([1, 4, 2, 9], ddof=1))


def test_images_shown_too_rarely_are_left_out():
    recording = Recording([5, 6, 4, 2] * 50, signal=2.0, noise=3.0)
    image, responses = recording.image, recording.responses
    kept = image % 4 < 2
    for ceiling in CEILINGS:
        np.testing.assert_allclose(ceiling(responses, image), ceiling(responses[kept], image[kept]), rtol=1e-12)
        assert (ceiling(responses, image, min_repeats=2) != ceiling(responses, image)).any()
    for score in (cc_norm, feve):
        expected = score(recording.half[kept], responses[kept], image[kept])
        np.testing.assert_allclose(score(recording.half, responses, image), expected, rtol=1e-12)


def test_predictions_must_have_the_shape_of_the_responses():
    recording = Recording([5] * 4, signal=1.0, noise=1.0)
    for score in (cc_norm, feve):
        with pytest.raises(ValueError, match=r"one shape are needed, got \[\(20, 499\), \(20, 500\)\]"):
            score(recording.half[:, 1:], recording.responses, recording.image)
