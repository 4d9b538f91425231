import numpy as np
import torch
from golden import BEHAVIOR, EYE, images_f, network_f

from neurostatic.data.reliability import cc_norm, feve
from neurostatic.fitting.evaluation import TierTensors, predict, score_tiers, score_units

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
    tiers = {"train": tier_of_f(), "validation": tier_of_f((0, 1, 0, 1)), "test": tier_of_f((1, 1, 0) * 6)}
    unit_ids = {"a": np.array([9, 4, 6])}
    table = score_tiers(network, {"a": tiers}, unit_ids)
    assert list(table.columns) == ["scan", "unit_id", "tier", "pearson", "cc_norm", "feve"]
    test = tiers["test"]
    of_trials = (predict(network, "a", test).numpy(), test.responses.numpy(), test.image_index.numpy())
    np.testing.assert_array_equal(table.cc_norm, np.append([NAN] * 3, cc_norm(*of_trials)))
    np.testing.assert_array_equal(table.feve, np.append([NAN] * 3, feve(*of_trials)))
    assert table.tier.tolist() == ["validation"] * 3 + ["test"] * 3
    assert table.unit_id.tolist() == [9, 4, 6] * 2 and set(table.scan) == {"a"}
    for name in ("validation", "test"):
        expected = score_units(predict(network, "a", tiers[name]), tiers[name].responses)
        np.testing.assert_array_equal(table.pearson[table.tier == name], expected)
    empty = {**tiers, "test": tiers["test"].take(torch.zeros(0, dtype=torch.long))}
    assert set(score_tiers(network, {"a": empty}, unit_ids).tier) == {"validation"}


def test_scores_do_not_depend_on_how_many_units_are_scored_at_a_time(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    predicted, responses = torch.randn(2, 30, 11, generator=generator)
    whole = score_units(predicted, responses)
    monkeypatch.setattr("neurostatic.fitting.evaluation.SCORED_UNITS", 4)
    assert torch.equal(score_units(predicted, responses), whole)
