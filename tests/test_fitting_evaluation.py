import numpy as np
import pytest
import torch
from golden import BEHAVIOR, EYE, images_f, network_f

from neurostatic.fitting.evaluation import TierTensors, oracle, predict, score_tiers, score_units

NAN = float("nan")


def tier_of_f(trials=(0, 1, 1, 0, 1)):
    """Trials of model F's two images; eye and behavior differ from trial to trial."""
    n = len(trials)
    index = torch.tensor(trials)
    steps = torch.arange(n, dtype=torch.float64)[:, None] / 10
    responses = torch.arange(3.0 * n, dtype=torch.float64).reshape(n, 3).remainder(4)
    return TierTensors(images_f(), index, BEHAVIOR[index] + steps, EYE[index] - steps, responses)


def test_a_tier_gathers_its_images_and_takes_trials():
    tier = tier_of_f()
    assert torch.equal(tier.images, images_f()[[0, 1, 1, 0, 1]])
    taken = tier.take(torch.tensor([4, 0]))
    assert torch.equal(taken.images, images_f()[[1, 0]])
    for name in ("behavior", "eye", "responses", "image_index"):
        assert torch.equal(getattr(taken, name), getattr(tier, name)[[4, 0]])


def test_predictions_use_the_eye_and_behavior_of_each_trial():
    network, tier = network_f(), tier_of_f()
    predicted = predict(network, "a", tier)
    with torch.no_grad():
        for i in range(5):
            one = network(tier.images[i : i + 1], "a", tier.eye[i : i + 1], tier.behavior[i : i + 1])
            torch.testing.assert_close(predicted[i : i + 1], one, rtol=0, atol=1e-12)
    assert not torch.allclose(predicted[0], predicted[3])  # the same image in another state
    assert not predicted.requires_grad


def test_predictions_are_made_in_eval_mode_whatever_the_batch_and_leave_the_mode_as_it_was():
    network, tier = network_f(), tier_of_f()
    expected = predict(network, "a", tier)
    assert not network.training
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for batch_size in (1, 2, 256):
        torch.testing.assert_close(predict(network, "a", tier, batch_size), expected, rtol=0, atol=1e-12)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_scores_are_exact_correlations():
    """G19 without its factor (n - 1)/n: a constant response has no correlation, a constant prediction scores 0."""
    y = torch.tensor([[1.0, 2, 0], [2, 2, 1], [3, 2, 5], [4, 2, 2]])
    predicted = torch.tensor([[1.0, 1, 3], [3, 0, 1], [2, 5, 0], [5, 1, 2]])
    np.testing.assert_allclose(score_units(predicted, y), [0.831522, NAN, -0.836660], atol=1e-6)
    np.testing.assert_allclose(score_units(y, predicted), [0.831522, 0, -0.836660], atol=1e-6)
    np.testing.assert_allclose(score_units(predicted, predicted), 1, atol=1e-12)
    assert score_units(predicted.float() * NAN, y).isnan().all()


def test_scores_of_all_units_in_both_tiers():
    network = network_f()
    tiers = {"train": tier_of_f(), "validation": tier_of_f((0, 1, 0, 1)), "test": tier_of_f((1, 1, 0))}
    unit_ids = {"a": np.array([9, 4, 6])}
    table = score_tiers(network, {"a": tiers}, unit_ids)
    assert list(table.columns) == ["scan", "unit_id", "tier", "pearson"]
    assert table.tier.tolist() == ["validation"] * 3 + ["test"] * 3
    assert table.unit_id.tolist() == [9, 4, 6] * 2 and set(table.scan) == {"a"}
    for name in ("validation", "test"):
        expected = score_units(predict(network, "a", tiers[name]), tiers[name].responses)
        np.testing.assert_array_equal(table.pearson[table.tier == name], expected)
    empty = {**tiers, "test": tiers["test"].take(torch.zeros(0, dtype=torch.long))}
    assert set(score_tiers(network, {"a": empty}, unit_ids).tier) == {"validation"}


def test_oracle_leaves_the_trial_itself_out():
    """Means of the other repeats of 1..5 are 3.5 .. 2.5; upstream -0.8, 0.9, 0.3986324 with its factor (n - 1)/n."""
    one = np.arange(1.0, 6.0)[:, None]
    correlation, counts = oracle(one, np.zeros(5))
    np.testing.assert_allclose(correlation, [-1], atol=1e-12)
    assert counts == {"images_used": 1, "images_left_out": 0}
    two = np.repeat([1.0, 3.0], 5)
    a_b = np.array([0.0, 1, 0, 1, 3, 2, 4, 3, 3, 8])
    correlation, counts = oracle(np.stack([two, a_b, np.ones(10)], 1), np.repeat([7, 5], 5))
    np.testing.assert_allclose(correlation, [1, 0.4429249, NAN], atol=5e-8)
    assert counts == {"images_used": 2, "images_left_out": 0}


def test_oracle_of_several_images():
    """C32 (published values are 14/15 of these), with the trials in any order."""
    i, j, n = np.meshgrid(np.arange(3), np.arange(5), np.arange(4), indexing="ij")
    responses = (0.37 * (i + 1) * (n + 1) + 0.05 * (j + 1) * (n + 1) ** 2) % 1
    responses, image = responses.reshape(15, 4), np.repeat(["x", "y", "z"], 5)
    published = np.array([0.881361, -0.665227, -0.651953, -0.657573])
    correlation, _ = oracle(responses, image)
    np.testing.assert_allclose(correlation, published * 15 / 14, atol=2e-6)
    order = np.random.default_rng(0).permutation(15)
    np.testing.assert_allclose(oracle(responses[order], image[order])[0], correlation, atol=1e-12)


def test_images_with_too_few_repeats_are_left_out_of_the_oracle():
    rng = np.random.default_rng(0)
    responses = rng.normal(size=(15, 2))
    image = np.repeat([0, 1, 2], [5, 4, 6])
    correlation, counts = oracle(responses, image)
    kept = image != 1
    np.testing.assert_allclose(correlation, oracle(responses[kept], image[kept])[0], atol=1e-12)
    assert counts == {"images_used": 2, "images_left_out": 1}
    correlation, counts = oracle(responses[:9], np.repeat([0, 1], [4, 5])[::-1] + np.arange(9))
    assert np.isnan(correlation).all() and correlation.shape == (2,)
    assert counts["images_used"] == 0


@pytest.mark.parametrize(("repeats", "expected"), [(10, 0.6708), (5, 0.6325), (20, 0.6892)])
def test_expected_oracle_of_equal_signal_and_noise(repeats, expected):
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(2000, 1, 30)).repeat(repeats, 1)
    responses = (signal + rng.normal(size=signal.shape)).reshape(-1, 30)
    correlation, _ = oracle(responses, np.repeat(np.arange(2000), repeats))
    assert correlation.mean() == pytest.approx(expected, abs=0.01)


def test_oracle_of_noise_is_slightly_negative():
    """The other repeats lack just this trial: mean -0.0055, never a spurious signal."""
    responses = np.random.default_rng(2).normal(size=(1000, 2000))
    correlation, _ = oracle(responses, np.repeat(np.arange(100), 10))
    assert correlation.mean() == pytest.approx(-0.0055, abs=0.004)
    assert correlation.std() == pytest.approx(0.045, abs=0.01)
