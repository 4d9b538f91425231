import dataclasses
import math

import numpy as np
import pytest
import torch
from exports import make_export
from golden import BEHAVIOR, EYE, NETWORK_F, close, images_f, network_f
from torch import nn

from neurostatic.config import DataConfig, Preprocessing, Training
from neurostatic.data import build_dataset, open_multi_dataset, read_scan
from neurostatic.data.datasets import multi
from neurostatic.fitting.early_stopping import early_stopping
from neurostatic.fitting.scores import predict, score_units
from neurostatic.fitting.tensors import StoredResponses, TierTensors
from neurostatic.fitting.training import _train_epoch, cycle_scans, poisson_loss, train_network
from neurostatic.models import CorePlusReadout
from neurostatic.problems import InputError, NoModelError
from neurostatic.store import write_arrays

TARGETS = torch.tensor([[0, 1.5, 0.5], [2, 0, 1]], dtype=torch.float64)
NAN = float("nan")
CPU = torch.device("cpu")
CURVE = [0.10, 0.20, 0.25, 0.24, 0.25, 0.2500005, 0.26, 0.25, 0.25, 0.25, 0.30, 0.31]


def quiet(_):
    pass


def test_poisson_loss():
    """G18."""
    predicted = torch.tensor([[0.5, 1, 2], [0, 0.001, 4]], dtype=torch.float64)
    responses = torch.tensor([[1, 0, 3], [0, 2, 4]], dtype=torch.float64)
    close(poisson_loss(predicted, responses), 2.397506)
    per_unit = torch.stack([poisson_loss(predicted[:, u], responses[:, u]) for u in range(3)])
    close(per_unit, [0.596574, 7.408255, -0.812309])
    close(poisson_loss(torch.zeros(1, dtype=torch.float64), torch.ones(1)), 27.631021)


def test_a_saturated_unit_has_no_gradient():
    """G31 (float32): an ELU that is not in place would give -687 for the first unit and ruin the network."""
    network = CorePlusReadout(NETWORK_F, {"a": 3}, (1, 9, 10))
    readout = network.readout["a"]
    with torch.no_grad():
        readout.features.zero_()
        readout.bias.copy_(torch.tensor([-20.0, -12.0, -2.0]))
    response = network.eval()(torch.zeros(1, 1, 9, 10), "a")
    poisson_loss(response, torch.ones(1, 3)).backward()
    assert readout.bias.grad[0] == 0
    close(readout.bias.grad, [0, -0.333331, -0.288222], 1e-6)


def test_three_adam_steps_in_single_precision():
    """G22."""
    network = network_f().float().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    for total in (43.839180, 42.572609, 41.330486):
        predicted = network(images_f().float(), "a", EYE.float(), BEHAVIOR.float())
        loss = poisson_loss(predicted, TARGETS.float()) + network.regularizer("a")
        close(loss, total, 2e-5)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)


def test_three_adam_steps():
    """G22: losses, first gradients, and the responses afterwards."""
    network = network_f().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    expected = [
        [1.075017, 42.736574, 0.027593, 43.839183],
        [1.057472, 41.490321, 0.024815, 42.572608],
        [1.040044, 40.268994, 0.021447, 41.330485],
    ]
    for step, losses in enumerate(expected):
        poisson = poisson_loss(network(images_f(), "a", EYE, BEHAVIOR), TARGETS)
        core, readout = network.core.regularizer(), network.readout["a"].regularizer()
        loss = poisson + network.regularizer("a")
        close(torch.stack([poisson, core, readout, loss]), losses)
        loss.backward()
        if step == 0:
            gradients = network.readout["a"]
            close(network.core.convolutions[0].weight.grad[0, 0, 0, :3], [-7.552633, 5.810815, -8.490967])
            close(gradients.grid.grad, [[0.007207, 0.007258], [-0.005249, 0.003079], [-0.017251, 0.000735]])
            close(gradients.features.grad[0, 0], [0.105014, 0.044656, 0.012254])
            close(gradients.bias.grad, [0.075693, 0.253661, 0.097089])
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    response = network.eval()(images_f(), "a", EYE, BEHAVIOR)
    close(response, [[0.929626, 1.233700, 1.114725], [1.126458, 1.240907, 1.163381]])


class Counter(nn.Module):
    """A network whose state is the number of epochs it was trained."""

    def __init__(self):
        super().__init__()
        self.register_buffer("epochs", torch.zeros(()))


def run_early_stopping(curve, patience, max_epochs=500, start=0, **options):
    """Epochs that were asked for with the objective before each, the final state, and the number of evaluations.

    The published counts of evaluations are 2 higher: it evaluates before and after it restores the best, for its log.
    """
    network = Counter()
    yielded, calls = [], []

    def objective():
        calls.append(1)
        return curve[min(int(network.epochs), len(curve) - 1)]

    for stopping in early_stopping(network, objective, patience, 1e-6, start, max_epochs, **options):
        yielded.append((stopping.epoch, stopping.current))
        network.epochs += 1
    return yielded, int(network.epochs), len(calls)


def test_early_stopping_after_patience():
    """G25: the untrained state counts, and an equal value or one within the tolerance is no improvement."""
    yielded, state, calls = run_early_stopping(CURVE, patience=3)
    assert yielded == [(1, 0.10), (2, 0.20), (3, 0.25), (4, 0.24), (5, 0.25)]
    assert (state, calls) == (2, 8 - 2)
    yielded, state, calls = run_early_stopping(CURVE, patience=4)
    assert (len(yielded), state, calls) == (15, 11, 18 - 2)
    assert yielded == [(i + 1, CURVE[min(i, 11)]) for i in range(15)]


def test_early_stopping_at_the_last_epoch():
    """G25: the limit is shared with the stage before."""
    yielded, state, _ = run_early_stopping(CURVE, patience=3, max_epochs=5)
    assert len(yielded) == 5 and state == 2
    expected = [(499, 0.10), (500, 0.20)], 2, 5 - 2
    assert run_early_stopping(CURVE, patience=3, start=498) == expected
    assert run_early_stopping(CURVE, patience=3, start=500) == ([], 0, 3 - 2)


def test_early_stopping_that_looks_every_second_epoch():
    """G25."""
    yielded, state, calls = run_early_stopping(CURVE, patience=2, interval=2)
    values = [0.10, 0.25, 0.25, 0.26, 0.25, 0.30, 0.31, 0.31]
    assert yielded == [(i + 1, values[i // 2]) for i in range(16)]
    assert (state, calls) == (12, 11 - 2)


def test_early_stopping_that_keeps_the_last_state_or_minimizes():
    """G25."""
    assert run_early_stopping(CURVE, patience=3, restore_best=False)[1] == 5
    falling = [5, 4, 4.5, 4.6, 3, 3, 3.1]
    expected = [(1, 5), (2, 4), (3, 4.5)], 1, 6 - 2
    assert run_early_stopping(falling, patience=2, maximize=False) == expected


def test_early_stopping_when_the_objective_is_not_finite():
    """G25."""
    assert run_early_stopping([0.1, 0.3, NAN, 0.5], patience=3) == ([(1, 0.1), (2, 0.3)], 1, 5 - 2)
    assert run_early_stopping([NAN], patience=3) == ([], 0, 3 - 2)


def test_scans_take_turns_in_complete_rounds():
    """G26."""
    batches = {"a": ["a0", "a1", "a2"], "b": ["b0", "b1"]}
    assert [batch for _, batch in cycle_scans(batches)] == ["a0", "b0", "a1", "b1"]
    batches = {"b": ["b0", "b1"], "a": ["a0", "a1", "a2"], "c": ["c0", "c1", "c2", "c3"]}
    assert [batch for _, batch in cycle_scans(batches)] == ["b0", "a0", "c0", "b1", "a1", "c1"]
    assert [scan for scan, _ in cycle_scans(batches)] == ["b", "a", "c", "b", "a", "c"]


class TwoScans(nn.Module):
    """Loss sum(p^2) on scan p, sum(q^2) on scan q; its responses are 0."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
        self.q = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))

    def forward(self, images, scan, eye, behavior, noise):
        return torch.zeros(len(images), 1)

    def regularizer(self, scan):
        return getattr(self, scan).square().sum()


def test_momentum_moves_the_scan_that_is_not_in_the_batch():
    """G27, two epochs of one batch a scan; gradients set to None would give p = (.990001, 1.99), q = .990001."""
    tier = TierTensors(
        torch.zeros(1, 1, 2, 2),
        torch.zeros(1, dtype=torch.long),
        torch.zeros(1, 3),
        torch.zeros(1, 2),
        torch.zeros(1, 1),
        torch.zeros(2),
        torch.zeros(3),
    )
    network = TwoScans()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    scans = {scan: {"train": tier} for scan in ("p", "q")}
    for _ in range(2):
        _train_epoch(network, optimizer, scans, 60, *(torch.Generator().manual_seed(0) for _ in range(2)))
    close(network.p, [0.984213, 1.984211])
    close(network.q, [0.987562])


def make_scans(seed=0, n_units=3, names=("a",), shuffled=False):
    """Scans whose units answer, without noise, to a pixel of the image's middle; 60 + 30 trials."""
    rng = np.random.default_rng(seed)
    scans = {}
    for name in names:
        images = torch.from_numpy(rng.normal(size=(90, 1, 9, 10))).float()
        rates = torch.exp(images[:, 0, 4, 3 : 3 + n_units])
        answers = torch.from_numpy(rng.permutation(90)) if shuffled else torch.arange(90)
        tiers = {"train": torch.arange(60), "validation": torch.arange(60, 90)}
        scan = TierTensors(
            images,
            torch.arange(90),
            torch.from_numpy(rng.uniform(0.5, 1.5, (90, 3))).float(),
            torch.from_numpy(rng.normal(size=(90, 2))).float(),
            rates[answers],
            torch.zeros(2),
            torch.ones(3),
        )
        scans[name] = {tier: scan.take(trials) for tier, trials in tiers.items()}
    return scans


NETWORK = dataclasses.replace(NETWORK_F, hidden_channels=4, gamma_hidden=0.01, gamma_input=0.1, shifter="none")
QUICK = Training(max_epochs=4, batch_size=20, patience=2)


def weights_of(network):
    return torch.cat([value.double().flatten() for value in network.state_dict().values()])


def test_the_seed_decides_the_weights_and_global_random_numbers_do_not():
    scans = make_scans(names=("a", "b"))
    trained = []
    for seed, elsewhere in ((1, 10), (1, 11), (2, 10)):
        torch.manual_seed(elsewhere)
        np.random.seed(elsewhere)
        torch.rand(elsewhere)
        network, history = train_network(NETWORK_F, QUICK, scans, seed, CPU, quiet)
        trained.append((weights_of(network), history))
    (first, first_history), (again, again_history), (other, _) = trained
    assert torch.equal(first, again) and first_history == again_history
    assert not torch.allclose(first, other)


def test_training_learns_and_does_not_learn_from_shuffled_responses():
    training = Training(max_epochs=60, batch_size=20, learning_rates=(0.02, 0.005))
    final = {}
    for shuffled in (False, True):
        scans = make_scans(shuffled=shuffled)
        network, history = train_network(NETWORK, training, scans, 1, CPU, quiet)
        validation = scans["a"]["validation"]
        final[shuffled] = score_units(predict(network, "a", validation), validation.responses).mean().item()
        assert final[shuffled] >= max(row["correlation_before"] for row in history) - 1e-6  # the best is restored
        assert not network.training
        if not shuffled:
            assert history[-1]["loss"] < history[0]["loss"]
    assert final[False] > 0.6
    assert final[True] < 0.4


def test_history_and_shared_epochs():
    scans = make_scans()
    said = []
    training = Training(max_epochs=5, batch_size=20, patience=4, learning_rates=(0.005, 0.001))
    _, history = train_network(NETWORK, training, scans, 3, CPU, said.append)
    assert [row["epoch"] for row in history] == list(range(1, len(history) + 1))
    assert len(history) <= 5 and len(said) == len(history) + 1
    assert all(math.isfinite(row["loss"]) for row in history)
    untrained = CorePlusReadout(NETWORK, {"a": 3}, (1, 9, 10))
    untrained.initialize({"a": scans["a"]["train"].mean_responses()}, torch.Generator().manual_seed(3))
    validation = scans["a"]["validation"]
    score = score_units(predict(untrained, "a", validation), validation.responses).mean().item()
    assert history[0]["correlation_before"] == pytest.approx(score, abs=1e-6)


def test_a_training_that_diverges_keeps_its_best_state():
    """A learning rate of 1e30 makes all weights NaN in one epoch: what was learned before is kept."""
    scans, said = make_scans(), []
    first = dataclasses.replace(QUICK, learning_rates=(0.02,), max_epochs=6)
    expected, _ = train_network(NETWORK_F, first, scans, 1, CPU, quiet)
    training = dataclasses.replace(first, learning_rates=(0.02, 1e30), max_epochs=9)
    network, history = train_network(NETWORK_F, training, scans, 1, CPU, said.append)
    assert [row["stage"] for row in history].count(1) == 1 and math.isnan(history[-1]["loss"])
    assert "the training diverged; back to the best state so far" in said
    assert torch.equal(weights_of(network), weights_of(expected))


def test_a_training_that_diverges_before_anything_is_learned_gives_no_model():
    """NoModelError; a later stage of a smaller rate may still save it."""
    for rates in ((1e30,), (1e30, 1e30)):
        with pytest.raises(NoModelError, match="or the training diverged"):
            train_network(NETWORK_F, dataclasses.replace(QUICK, learning_rates=rates), make_scans(), 1, CPU, quiet)
    saved = dataclasses.replace(QUICK, learning_rates=(1e30, 0.02))
    _, history = train_network(NETWORK, saved, make_scans(), 1, CPU, quiet)
    assert [row["stage"] for row in history] == [0, 1, 1, 1]


def test_responses_that_are_not_finite_are_an_error():
    scans = make_scans()
    scans["a"]["validation"].responses[3, 1] = NAN
    with pytest.raises(NoModelError, match="no validation correlation"):
        train_network(NETWORK_F, QUICK, scans, 1, CPU, quiet)


def test_training_from_the_store_is_training_from_memory(tmp_path, monkeypatch):
    """Responses that are read batch by batch make the same weights, to the last bit."""
    scan = read_scan(make_export(tmp_path / "scan", "responses", n_single=60, height_px=10, width_px=12))
    dataset = build_dataset(scan, Preprocessing(height_px=10, width_px=12))
    write_arrays(dataset, tmp_path / "a.zarr.zip", {})
    weights, responses = [], []
    for limit in (multi.IN_MEMORY_BYTES, 100):
        monkeypatch.setattr(multi, "IN_MEMORY_BYTES", limit)
        member = open_multi_dataset({"a": tmp_path / "a.zarr.zip"}, DataConfig(layer="all"))["a"]
        tiers = {tier: TierTensors.of(member, tier, CPU) for tier in ("train", "validation")}
        assert isinstance(tiers["train"].responses, StoredResponses) == (limit == 100)
        responses.append(tiers["train"].responses[:])
        network, _ = train_network(NETWORK, QUICK, {"a": tiers}, 1, CPU, quiet)
        weights.append(weights_of(network))
    assert torch.equal(*weights) and torch.equal(*responses)


def test_training_on_images_in_color():
    """The network takes the channels of the images; units that answer to the second channel are learned."""
    scans = make_scans()
    for tier, data in scans["a"].items():
        others = torch.randn(data.all_images.shape, generator=torch.Generator().manual_seed(2))
        scans["a"][tier] = dataclasses.replace(data, all_images=torch.cat([others, data.all_images], 1))
    training = Training(max_epochs=40, batch_size=20, learning_rates=(0.02,))
    network, _ = train_network(NETWORK, training, scans, 1, CPU, quiet)
    assert network.image_shape == (2, 9, 10)
    validation = scans["a"]["validation"]
    assert score_units(predict(network, "a", validation), validation.responses).mean() > 0.4


def test_a_scan_without_validation_trials_is_an_error():
    scans = make_scans(names=("a", "b"))
    scans["b"]["validation"] = scans["b"]["validation"].take(torch.zeros(0, dtype=torch.long))
    with pytest.raises(InputError, match="scan b: no trial is of the validation tier"):
        train_network(NETWORK_F, QUICK, scans, 1, CPU, quiet)
    scans["b"]["train"] = scans["b"]["train"].take(torch.zeros(0, dtype=torch.long))
    with pytest.raises(InputError, match="scan b: no trial is of the train tier"):
        train_network(NETWORK_F, QUICK, scans, 1, CPU, quiet)
