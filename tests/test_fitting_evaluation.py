import numpy as np
import pytest
import torch
from golden import BEHAVIOR, EYE, NETWORK_F, images_f, network_f

from neurostatic.data.datasets import Normalization
from neurostatic.data.datasets.normalization import scaling_factors
from neurostatic.data.reliability import cc_abs, cc_norm, feve
from neurostatic.fitting.evaluation import evaluate_models, summarize_scores
from neurostatic.fitting.scores import predict, score_tiers, score_units
from neurostatic.fitting.tensors import TierTensors
from neurostatic.models import CorePlusReadout

NAN = float("nan")


def tier_of_f(trials=(0, 1, 1, 0, 1)):
    """Trials of model F's two images; eye and behavior differ from trial to trial."""
    n = len(trials)
    index = torch.tensor(trials)
    steps = torch.arange(n, dtype=torch.float64)[:, None] / 10
    responses = torch.arange(3.0 * n, dtype=torch.float64).reshape(n, 3).remainder(4)
    return TierTensors(images_f(), index, BEHAVIOR[index] + steps, EYE[index] - steps, responses, EYE[1], BEHAVIOR[0])


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


STATES = [(eye, behavior) for eye in ("trial", "mean", None) for behavior in ("trial", "mean", None)]


@pytest.mark.parametrize(("eye_pos", "behavior"), STATES)
def test_eye_and_behavior_of_a_prediction(eye_pos, behavior):
    """Each is that of the trial, the training mean, or nothing at all (no shift, gain one)."""
    network, tier = network_f(), tier_of_f()
    predicted = predict(network, "a", tier, eye_pos, behavior, batch_size=2)
    eye = {"trial": tier.eye, "mean": EYE[1:], None: None}[eye_pos]
    state = {"trial": tier.behavior, "mean": BEHAVIOR[:1], None: None}[behavior]
    with torch.no_grad():
        torch.testing.assert_close(predicted, network(tier.images, "a", eye, state), rtol=0, atol=1e-12)
    others = [predict(network, "a", tier, *other) for other in STATES if other != (eye_pos, behavior)]
    assert all(not torch.allclose(predicted, other) for other in others)


def test_an_unknown_state_is_an_error():
    with pytest.raises(ValueError, match="behavior: 'trial', 'mean' or None, got 'per trial'"):
        predict(network_f(), "a", tier_of_f(), behavior="per trial")


def test_training_means_are_those_of_the_normalized_quantities():
    """G30: std (2, .001, 4), mean (3, .5, 1): 1/std, but not of a channel that hardly varies."""
    std, mean = np.array([2, 0.001, 4]), np.array([3, 0.5, 1])
    factor = scaling_factors(std)
    np.testing.assert_allclose(factor, [0.5, 1, 0.25])
    normalizer = Normalization(0.0, 1.0, np.ones(1), factor, mean, np.zeros(2), np.ones(2))
    np.testing.assert_allclose(normalizer.mean_behavior, [1.5, 0.5, 0.25])
    np.testing.assert_allclose(normalizer.mean_eye, 0)


def test_predictions_are_made_in_eval_mode_whatever_the_batch_and_leave_the_mode_as_it_was():
    network, tier = network_f(), tier_of_f()
    expected = predict(network, "a", tier)
    assert not network.training
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for batch_size in (1, 2, 256):
        torch.testing.assert_close(predict(network, "a", tier, batch_size=batch_size), expected, rtol=0, atol=1e-12)
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
    constant = torch.full((30, 1), 0.1)  # whose standard deviation is not exactly 0
    varying = torch.randn(30, 1, generator=torch.Generator().manual_seed(0))
    assert score_units(constant, varying) == 0
    assert score_units(constant, constant).isnan() and score_units(varying, constant).isnan()


def test_scores_of_all_units_in_both_tiers():
    network = network_f()
    tiers = {"train": tier_of_f(), "validation": tier_of_f((0, 1, 0, 1)), "test": tier_of_f((1, 1, 0) * 6)}
    unit_ids = {"a": np.array([9, 4, 6])}
    table = score_tiers(network, {"a": tiers}, unit_ids)
    assert list(table.columns) == ["scan", "unit_id", "tier", "pearson", "cc_abs", "cc_norm", "feve"]
    test = tiers["test"]
    of_trials = (predict(network, "a", test).numpy(), test.responses.numpy(), test.image_index.numpy())
    np.testing.assert_array_equal(table.cc_abs, np.append([NAN] * 3, cc_abs(*of_trials)))
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
    monkeypatch.setattr("neurostatic.fitting.scores.SCORED_UNITS", 4)
    assert torch.equal(score_units(predicted, responses), whole)


def two_scans():
    """Test tiers of scans a and b, 6 repeats of each image."""
    return {"a": tier_of_f((1, 1, 0) * 6), "b": tier_of_f((0, 1, 1, 0, 1) * 6)}


def networks_of_two_scans():
    """Seeds 1 and 2 of one network and seed 1 of another; the other's seed 2 was bad."""
    found = {}
    for i, key in enumerate([("x", 1), ("x", 2), ("y", 1)]):
        network = CorePlusReadout(NETWORK_F, {"a": 3, "b": 3}, (1, 9, 10)).double().eval()
        generator = torch.Generator().manual_seed(i)
        network.initialize({scan: torch.rand(3, generator=generator) for scan in "ab"}, generator)
        with torch.no_grad():
            for readout in network.readout.values():
                readout.features.add_(torch.randn(readout.features.shape, generator=generator))
        found[key] = network
    return found


def test_models_and_ensembles_are_evaluated():
    """MultiModelEvaluation: the score of the mean of outputs; frozen: with eye and behavior at their means."""
    scans, networks = two_scans(), networks_of_two_scans()
    found = evaluate_models(lambda network, seed: networks.get((network, seed)), ["x", "y"], [1, 2], scans)
    assert found.pearson.dims == ("network", "seed", "state", "unit")
    assert found.pearson.shape == (2, 2, 2, 6) and found.scan.values.tolist() == ["a"] * 3 + ["b"] * 3
    assert found.n_seeds.values.tolist() == [2, 1]
    for state, given in (("per trial", "trial"), ("frozen", "mean")):
        for scan, tier in scans.items():
            of_scan = found.sel(state=state).isel(unit=np.flatnonzero(found.scan.values == scan))
            predicted = {key: predict(network, scan, tier, given, given) for key, network in networks.items()}
            image = tier.image_index.numpy()
            for (network, seed), values in predicted.items():
                one = of_scan.sel(network=network, seed=seed)
                np.testing.assert_array_equal(one.pearson, score_units(values, tier.responses))
                np.testing.assert_array_equal(one.cc_norm, cc_norm(values.numpy(), tier.responses.numpy(), image))
            mean = (predicted["x", 1] + predicted["x", 2]) / 2
            ensemble = of_scan.sel(network="x")
            np.testing.assert_allclose(ensemble.ensemble_pearson, score_units(mean, tier.responses), atol=1e-12)
            expected = feve(mean.numpy(), tier.responses.numpy(), image)
            np.testing.assert_allclose(ensemble.ensemble_feve, expected, atol=1e-12)
            assert not np.allclose(ensemble.ensemble_pearson, ensemble.pearson.mean("seed"))
    assert found.pearson.sel(network="y", seed=2).isnull().all()
    alone = found.sel(network="y")
    np.testing.assert_array_equal(alone.ensemble_pearson, alone.pearson.sel(seed=1))
    assert not np.allclose(found.pearson.sel(state="frozen", seed=1), found.pearson.sel(state="per trial", seed=1))


def test_summary_of_scores():
    scans, networks = two_scans(), networks_of_two_scans()
    found = evaluate_models(lambda network, seed: networks.get((network, seed)), ["x", "y"], [1, 2], scans)
    oracle = np.array([0.5, 0.2, NAN, 0.4, 0.4, 0.4])
    summary = summarize_scores(found.assign_coords(oracle=("unit", oracle)))
    assert len(summary) == 3 * 2 * 3 * 2  # scans and all, networks, seeds and ensemble, states
    of_all = summary.set_index(["scan", "network", "seed", "state"]).loc["all scans", "x", 2, "per trial"]
    single = found.pearson.sel(network="x", seed=2, state="per trial")
    assert of_all.n_units == 6 and of_all.pearson == pytest.approx(single.mean().item())
    row = summary.set_index(["scan", "network", "seed", "state"]).loc["a", "x", "ensemble", "frozen"]
    scores = found.ensemble_pearson.sel(network="x", state="frozen").values[:3]
    assert row.n_units == 3 and row.pearson == pytest.approx(scores.mean())
    fraction = (oracle[:2] * scores[:2]).sum() / (oracle[:2] ** 2).sum()
    assert row.fraction_oracle == pytest.approx(fraction)
    assert set(summarize_scores(found.isel(unit=slice(3)).assign_coords(oracle=("unit", oracle[:3]))).scan) == {"a"}
    bad = summary[(summary.network == "y") & (summary.seed == 2)]
    assert bad.pearson.isna().all() and (bad.n_units == 0).all()


def test_a_scan_without_test_trials_has_no_scores():
    scans = {"a": tier_of_f().take(torch.zeros(0, dtype=torch.long)), "b": two_scans()["b"]}
    network = networks_of_two_scans()["x", 1]
    found = evaluate_models(lambda *_: network, ["x"], [1], scans)
    assert found.pearson[..., :3].isnull().all() and found.pearson[..., 3:].notnull().all()
