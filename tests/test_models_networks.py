import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import BEHAVIOR, EYE, NETWORK_F, close, fill_linears, images_f, network_f

from neurostatic.config import CORES, READOUTS, Network
from neurostatic.models import (
    CorePlusReadout,
    Ensemble,
    TrainedNetwork,
    all_responses,
    load_network,
    paired_responses,
    save_bad,
    save_network,
)
from neurostatic.models.modulators import build_modulator
from neurostatic.models.shifters import build_shifter
from neurostatic.problems import InputError, NoModelError

BOTH = [[1.061266, 1.208549, 1.240890], [1.065198, 1.369364, 1.153824]]
BEHAVIOR_ONLY = [[1.034242, 1.197031, 1.410926], [1.069888, 1.336137, 1.230590]]
SHAPE = (1, 9, 10)
NORMALIZATION = {"image_mean": 110.0, "image_std": 50.0}


def bias_network(bias, **changes):
    """A network of one image and constant features: unit u's response before the nonlinearity is bias[u]."""
    network = CorePlusReadout(dataclasses.replace(NETWORK_F, **changes), {"a": len(bias)}, SHAPE)
    with torch.no_grad():
        network.readout["a"].features.zero_()
        network.readout["a"].bias.copy_(torch.tensor(bias))
    return network


def random_network(seed=0, scans=("a",), n_units=3, **changes):
    network = CorePlusReadout(dataclasses.replace(NETWORK_F, **changes), dict.fromkeys(scans, n_units), SHAPE)
    generator = torch.Generator().manual_seed(seed)
    network.initialize({scan: torch.rand(n_units, generator=generator) for scan in scans}, generator)
    with torch.no_grad():
        for readout in network.readout.values():  # so that the units differ
            readout.features.add_(torch.randn(readout.features.shape, generator=generator))
    return network


def save(network, path, unit_ids):
    save_network(network, path, unit_ids, dict.fromkeys(unit_ids, NORMALIZATION), {"commit": "abc"})


EYES = torch.tensor([[1, -0.5], [0, 0], [-2, 0.25]], dtype=torch.float64)


def test_mlp_shifter():
    """G15: three linear layers, each followed by tanh."""
    shifter = build_shifter(Network()).double()
    fill_linears(shifter)
    close(shifter(EYES), [[0.227919, 0.180059], [0.341826, 0.390757], [0.514074, 0.570267]])
    assert sum(parameter.numel() for parameter in shifter.parameters()) == 57
    assert shifter.regularizer() == 0
    shapes = [tuple(p.shape) for p in build_shifter(Network(shift_layers=1)).parameters()]
    assert shapes == [(2, 2), (2,)]
    shapes = [tuple(p.shape) for p in build_shifter(Network(shift_layers=2, hidden_channels_shifter=7)).parameters()]
    assert shapes == [(7, 2), (7,), (2, 7), (2,)]


def test_affine_shifter():
    """G14; it begins at minus the mean eye, with W N(0, 1e-6)."""
    shifter = build_shifter(Network(shifter="StaticAffine2d")).double()
    with torch.no_grad():
        shifter.linear.weight.copy_(torch.tensor([[0.3, -0.2], [0.1, 0.5]]))
        shifter.linear.bias.copy_(torch.tensor([0.05, -0.1]))
    close(shifter(EYES), [[0.421899, -0.244919], [0.049958, -0.099668], [-0.537050, -0.173235]])
    close(shifter.regularizer(), 9.75e-5, 1e-9)
    assert sum(parameter.numel() for parameter in shifter.parameters()) == 6
    shifter.initialize(torch.tensor([0.5, -2.0]), torch.Generator().manual_seed(0))
    close(shifter.linear.bias, [-0.5, 2.0], 0)
    assert 1e-8 < shifter.linear.weight.abs().max() < 5e-6


def test_mlp_modulator():
    """G16: gain = exp of the last layer, times the response."""
    modulator = build_modulator(Network(gamma_modulator=0.5), 3).double()
    fill_linears(modulator)
    gain = modulator(BEHAVIOR)
    close(gain, [[1.177625, 1.345143, 0.861569], [0.862431, 1.810494, 0.516025]])
    response = torch.tensor([[1, -1, 0.5], [2, 0.25, -0.5]], dtype=torch.float64)
    close(gain * response, [[1.177625, -1.345143, 0.430785], [1.724862, 0.452624, -0.258013]])
    close(modulator.regularizer(), 0.165)
    assert sum(parameter.numel() for parameter in modulator.parameters()) == 150 + 11 * 3
    deeper = build_modulator(Network(modulator_layers=3, hidden_channels_modulator=4), 5)
    assert [tuple(p.shape) for p in deeper.parameters()][::2] == [(4, 3), (4, 4), (4, 4), (5, 4)]


def test_first_gains_scatter_around_one():
    """Section 10: over many draws at behavior (1, 0, .5) mean 1.02, std .22."""
    gains = []
    for seed in range(50):
        modulator = build_modulator(Network(), 2000)
        modulator.initialize(torch.Generator().manual_seed(seed))
        with torch.no_grad():
            gains.append(modulator(torch.tensor([[1.0, 0.0, 0.5]])))
    gains = torch.cat(gains)
    assert gains.mean().item() == pytest.approx(1.02, abs=0.03)
    assert gains.std().item() == pytest.approx(0.22, abs=0.03)


def test_linear_layers_begin_uniformly_within_one_over_root_fan_in():
    modulator = build_modulator(Network(), 5000)
    modulator.initialize(torch.Generator().manual_seed(0))
    for values in (modulator.linear.weight.detach(), modulator.linear.bias.detach()):
        assert 0.99 * 10**-0.5 < values.abs().max() <= 10**-0.5
        assert values.std().item() == pytest.approx((10 * 3) ** -0.5, rel=0.05)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("elu1", [0, 0.135335, 0.606531, 1, 1.5, 4]),
        ("log1exp", [0, 0.126928, 0.474077, 0.693147, 0.974077, 3.048587]),
        ("adjusted_elu", [0, 0.049787, 0.223130, 0.367879, 0.606531, 3]),
    ],
)
def test_output_nonlinearity(name, expected):
    """G17."""
    network = bias_network([-20, -2, -0.5, 0, 0.5, 3], nonlinearity=name).eval()
    response = network(torch.zeros(1, 1, 9, 10), "a")
    close(response[0], expected, 1e-6)
    assert response.min() >= 0
    large = bias_network([200.0], nonlinearity=name).eval()(torch.zeros(1, 1, 9, 10), "a")
    close(large, [[{"elu1": 201.0}.get(name, 200.0)]])


def test_full_model():
    """G20: eye and behavior given or None."""
    network = network_f()
    with torch.no_grad():
        neither = network(images_f(), "a")
        eye = network(images_f(), "a", EYE)
        behavior = network(images_f(), "a", None, BEHAVIOR)
        both = network(images_f(), "a", EYE, BEHAVIOR)
    close(neither, [[1.029077, 1.146476, 1.476951], [1.081036, 1.185660, 1.446859]])
    close(eye, [[1.052025, 1.155039, 1.279594], [1.075598, 1.204013, 1.298093]])
    close(behavior, BEHAVIOR_ONLY)
    close(both, BOTH)


def test_an_eye_at_zero_is_not_no_eye_and_one_row_serves_all_images():
    """G21."""
    network = network_f()
    zero_eye = [[1.064967, 1.174638, 1.183570], [1.086684, 1.182054, 1.377826]]
    with torch.no_grad():
        close(network(images_f(), "a", torch.zeros_like(EYE)), zero_eye)
        close(network(images_f(), "a", torch.zeros_like(EYE[:1])), zero_eye)
        response = network(images_f(), "a", EYE[:1], BEHAVIOR[:1])
    close(response, [BOTH[0], [1.063342, 1.236598, 1.410180]])


def test_a_gain_of_the_output():
    """OutputMLP: the gain of G16 times the response of G20 without behavior, or with the eye alone."""
    network = CorePlusReadout(dataclasses.replace(NETWORK_F, modulator="OutputMLP"), {"a": 3}, SHAPE).double().eval()
    network.load_state_dict(network_f().state_dict())
    gain = torch.tensor([[1.177625, 1.345143, 0.861569], [0.862431, 1.810494, 0.516025]], dtype=torch.float64)
    neither = torch.tensor([[1.029077, 1.146476, 1.476951], [1.081036, 1.185660, 1.446859]], dtype=torch.float64)
    with torch.no_grad():
        close(network(images_f(), "a"), neither)
        close(network(images_f(), "a", None, BEHAVIOR), gain * neither, 4e-6)
        close(network(images_f(), "a", EYE, BEHAVIOR), gain * network(images_f(), "a", EYE), 4e-6)


def test_without_shifter_or_modulator_the_inputs_change_nothing():
    """G21: no shifter == behavior only; neither == both None."""
    full = network_f()
    for shifter, modulator in (("none", "MLP"), ("MLP", "none"), ("none", "none")):
        config = dataclasses.replace(NETWORK_F, shifter=shifter, modulator=modulator)
        network = CorePlusReadout(config, {"a": 3}, SHAPE).double().eval()
        own = set(network.state_dict())
        network.load_state_dict({name: value for name, value in full.state_dict().items() if name in own})
        with torch.no_grad():
            response = network(images_f(), "a", EYE, BEHAVIOR)
            expected = full(
                images_f(),
                "a",
                EYE if shifter == "MLP" else None,
                BEHAVIOR if modulator == "MLP" else None,
            )
        assert torch.equal(response, expected)


def test_parameter_counts():
    """G24, and section 9: 158127 + 590 n for the paper's network, 157920 + sum (207 + 590 n) for several scans."""

    def count(network):
        return sum(parameter.numel() for parameter in network.parameters())

    assert count(network_f()) == 473
    assert count(CorePlusReadout(Network(), {"a": 10})) == 158127 + 590 * 10
    assert count(CorePlusReadout(Network(), {"a": 10, "b": 4})) == 157920 + 2 * 207 + 590 * 14
    assert count(CorePlusReadout(Network(core="StackedLinearGaussianLaplace"), {"a": 10})) == 158127 + 590 * 10


def test_initialization_of_the_whole():
    """G23 in place; every scan its own readout."""
    network = CorePlusReadout(NETWORK_F, {"a": 3, "b": 2}, SHAPE)
    means = {"a": torch.tensor([0.4, 1.0, 2.5]), "b": torch.tensor([1.0, 3.0])}
    network.initialize(means, torch.Generator().manual_seed(0))
    close(network.readout["a"].bias, [-0.6, 0.0, 1.5], 1e-7)
    close(network.readout["b"].bias, [0.0, 2.0], 1e-7)
    close(network.readout["a"].features, torch.full((3, 6, 3), 1 / 6), 1e-7)
    assert not torch.equal(network.readout["a"].grid[:2], network.readout["b"].grid)
    assert not torch.equal(network.shifter["a"][0].weight, network.shifter["b"][0].weight)
    images = images_f().float()
    assert network(images, "a").shape == (2, 3) and network(images, "b").shape == (2, 2)
    expected = network.core.regularizer() + network.readout["b"].regularizer()
    close(network.regularizer("b"), expected.detach().double(), 0)


@pytest.mark.parametrize(("downsample", "modulator"), [(True, "MLP"), (False, "MLP"), (True, "OutputMLP")])
def test_one_unit_an_image_equals_the_full_forward(downsample, modulator):
    network = random_network(downsample=downsample, modulator=modulator).double().eval()
    units = torch.tensor([2, 0, 1, 1])
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(4, 1, 9, 10, generator=generator, dtype=torch.float64)
    eye = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    behavior = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    for given in ((None, None), (eye, behavior), (eye[:1], behavior[:1])):
        pairs, full = images.clone().requires_grad_(), images.clone().requires_grad_()
        one = network(pairs, "a", *given, units)
        everyone = network(full, "a", *given).gather(1, units[:, None])[:, 0]
        close(one, everyone, 1e-12)
        one.sum().backward()
        everyone.sum().backward()
        close(pairs.grad, full.grad, 1e-12)
        assert pairs.grad.abs().amax((1, 2, 3)).min() > 1e-3


def test_a_model_file_gives_back_the_same_bits(tmp_path):
    network = random_network(scans=("a", "b-1")).train()
    images = torch.randn(5, 1, 9, 10, generator=torch.Generator().manual_seed(1))
    network(images, "a")  # moves the running statistics
    unit_ids = {"a": [7, 3, 11], "b-1": [1, 2, 3]}
    path = tmp_path / "net" / "1.pt"
    save(network, path, unit_ids)
    loaded = load_network(path)
    assert loaded.network.config == network.config
    assert loaded.unit_ids == unit_ids and loaded.image_shape == SHAPE
    assert loaded.normalization == dict.fromkeys(unit_ids, NORMALIZATION)
    weights, again = network.state_dict(), loaded.network.state_dict()
    assert list(weights) == list(again) and all(torch.equal(weights[name], again[name]) for name in weights)
    assert not loaded.network.training and not any(p.requires_grad for p in loaded.network.parameters())
    with torch.no_grad():
        assert torch.equal(loaded.network(images, "b-1"), network.eval()(images, "b-1"))
    assert json.loads(torch.load(path, weights_only=True)["provenance"]) == {"commit": "abc"}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("readout", READOUTS)
def test_every_network_can_be_trained_saved_and_loaded(tmp_path, core, readout):
    """Each core with each readout: all parameters get a finite gradient; the file gives back the same responses."""
    network = random_network(core=core, readout=readout, pool_steps=1, shifter="StaticAffine2d", n_units=2)
    images = torch.randn(5, 1, 9, 10, generator=torch.Generator().manual_seed(1))
    eye, behavior = EYE.float()[[0, 1, 0, 1, 0]], BEHAVIOR.float()[[0, 1, 0, 1, 0]]
    response = network.train()(images, "a", eye, behavior, noise=torch.Generator().manual_seed(0))
    (response.square().mean() + network.regularizer("a")).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    save(network, tmp_path / "1.pt", {"a": [7, 3]})
    loaded = load_network(tmp_path / "1.pt").network
    assert loaded.config == network.config
    with torch.no_grad():
        assert torch.equal(loaded(images, "a", eye, behavior), network.eval()(images, "a", eye, behavior))


def test_a_model_file_of_the_first_format_is_read():
    """Written by 0.1.0: network F in single precision, with what the golden checks say of it."""
    model = load_network(Path(__file__).with_name("model_format_1.pt"))
    assert model.unit_ids == {"a": [7, 3, 11]} and model.image_shape is None
    with torch.no_grad():
        close(model.network(images_f().float(), "a", EYE.float(), BEHAVIOR.float()), BOTH, 5e-6)


def test_a_bad_model_says_why_there_is_none(tmp_path):
    save_bad("the training diverged", tmp_path / "1.pt", {"commit": "abc"})
    with pytest.raises(NoModelError, match=r"1\.pt: no model, the training diverged"):
        load_network(tmp_path / "1.pt")


def test_an_unreadable_model_file_is_an_input_error(tmp_path):
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    save(random_network(), good, {"a": [1, 2, 3]})
    content = torch.load(good, weights_only=True)

    def broken(**changes):
        torch.save({**content, **changes}, bad)

    def cut():
        bad.write_bytes(good.read_bytes()[:-1000])

    cases = [
        (lambda: None, "no such file"),
        (lambda: bad.write_text("model"), "not a readable model file"),
        (cut, "not a readable model file"),
        (lambda: broken(format=3), "format 3; this version reads formats 1 to 2. A newer neurostatic wrote it"),
        (lambda: broken(unit_ids={"a": [1, 2]}), "not a readable model file"),
        (lambda: broken(network={"core": "GaussianLaplace", "kernel": 3}), "not a readable model file"),
        (lambda: torch.save([1, 2], bad), "not a readable model file"),
        (lambda: torch.save({"format": 2}, bad), "not a readable model file"),
        (lambda: torch.save({**content, "extra": Network()}, bad), "not a readable model file"),  # more than plain data
        (lambda: bad.write_bytes(b""), "not a readable model file"),
    ]
    for make, message in cases:
        make()
        with pytest.raises(InputError, match=message) as error:
            load_network(bad)
        assert "bad.pt" in str(error.value)


def make_ensemble(seeds=(0, 1, 2)):
    networks = [random_network(seed).eval() for seed in seeds]
    members = [TrainedNetwork(network, {"a": [7, 3, 11]}, {"a": NORMALIZATION}) for network in networks]
    return networks, Ensemble(members, "a")


def test_an_ensemble_answers_with_the_mean_of_its_members():
    networks, ensemble = make_ensemble()
    images = torch.randn(4, 9, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        response = ensemble.respond(images)
        members = torch.stack([net(images[:, None], "a", torch.zeros(4, 2), None) for net in networks])
        straight = torch.stack([net(images[:, None], "a") for net in networks]).mean(0)
    close(response, members.mean(0).double(), 1e-6)
    assert not torch.allclose(response, straight, atol=1e-3)  # an eye at its mean still goes through the shifter
    assert members.std(0).min() > 1e-4


def test_an_ensemble_looks_where_the_mouse_looked_on_average():
    """A pupil center that was not normalized has a mean that is not zero."""
    network = random_network(0).eval()
    member = TrainedNetwork(network, {"a": [7, 3, 11]}, {"a": NORMALIZATION | {"mean_eye": [0.5, -1.0]}})
    images = torch.randn(4, 9, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(images[:, None], "a", torch.tensor([[0.5, -1.0]]))
        assert torch.equal(Ensemble([member], "a").respond(images), expected)


def test_an_ensemble_is_asked_unit_state_and_seed_image_by_image():
    """Every answer is that of the network itself; -1 asks all seeds."""
    networks, _ = make_ensemble()
    members = [TrainedNetwork(network, {"a": [7, 3, 11]}, {"a": NORMALIZATION}) for network in networks]
    states = [(None, None), (torch.tensor([[0.5, -1.0]]), torch.tensor([[1.0, 0.2, 0.5]]))]
    ensemble = Ensemble(members, "a", states)
    questions = torch.tensor([[2, 0, -1], [0, 1, 1], [1, 1, -1], [1, 0, 2], [2, 1, 0]])
    images = torch.randn(5, 9, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        answers = ensemble.answer(images, questions)
        for image, answer, (unit, state, seed) in zip(images, answers, questions.tolist(), strict=True):
            own = [net(image[None, None], "a", *states[state])[0, unit] for net in networks]
            close(answer, (sum(own) / 3 if seed == -1 else own[seed]).double(), 1e-6)
    assert answers.unique().numel() == 5


def test_an_ensemble_answers_gray_levels():
    _, ensemble = make_ensemble()
    images_px = np.random.default_rng(0).integers(0, 256, (7, 9, 10)).astype(np.uint8)
    units = [2, 0, 1, 1, 2, 0, 0]
    full = ensemble.respond_px(images_px)
    with torch.no_grad():
        expected = ensemble.respond((torch.from_numpy(images_px).float() - 110) / 50)
    assert full.shape == (7, 3) and full.dtype == np.float32
    np.testing.assert_allclose(full, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(ensemble.respond_px(images_px, batch_size=3), full, atol=1e-6)
    for batch_size in (3, 256):
        paired = ensemble.respond_px(images_px, units, batch_size)
        np.testing.assert_allclose(paired, full[np.arange(7), units], atol=1e-6)
    assert ensemble.index_of([11, 7]).tolist() == [2, 0]


def test_units_of_several_scans_answer_images_of_their_own():
    network = random_network(scans=("a", "b")).eval()
    normalization = {"a": NORMALIZATION, "b": {"image_mean": 90.0, "image_std": 40.0}}
    member = TrainedNetwork(network, {"a": [7, 9, 11], "b": [7, 8, 9]}, normalization)
    images_px = np.random.default_rng(0).integers(0, 256, (4, 9, 10)).astype(np.uint8)
    ensembles = {scan: Ensemble([member], scan) for scan in "ab"}
    listed = ["b", "a", "b"], [9, 11, 7]
    alone = {scan: ensemble.respond_px(images_px) for scan, ensemble in ensembles.items()}
    expected = [alone["a"][0, 2], alone["b"][1, 2], alone["b"][2, 0], alone["a"][3, 2]]
    np.testing.assert_allclose(paired_responses(ensembles, *listed)(images_px, [1, 0, 2, 1]), expected, atol=1e-6)
    expected = np.stack([alone["b"][:, 2], alone["a"][:, 2], alone["b"][:, 0]], 1)
    np.testing.assert_allclose(all_responses(ensembles, *listed)(images_px), expected, atol=1e-6)


def test_an_ensemble_of_networks_that_see_images_without_their_mean():
    network = random_network(0).eval()
    plain, per_image = (
        Ensemble([TrainedNetwork(network, {"a": [7, 3, 11]}, {"a": NORMALIZATION | {"per_image": per_image}})], "a")
        for per_image in (False, True)
    )
    images_px = np.random.default_rng(0).integers(0, 200, (4, 9, 10)).astype(float)
    brighter = images_px + np.array([10, 20, 30, 40])[:, None, None]
    np.testing.assert_allclose(per_image.respond_px(brighter), per_image.respond_px(images_px), atol=1e-5)
    assert np.abs(plain.respond_px(brighter) - plain.respond_px(images_px)).max() > 1e-3
    centered = images_px - images_px.mean((1, 2), keepdims=True) + NORMALIZATION["image_mean"]
    np.testing.assert_allclose(per_image.respond_px(images_px), plain.respond_px(centered), atol=1e-5)


def test_images_are_made_for_networks_of_gray_levels_only(tmp_path):
    color = CorePlusReadout(NETWORK_F, {"a": 3}, (3, 9, 10))
    save_network(color, tmp_path / "color.pt", {"a": [1, 2, 3]}, {"a": NORMALIZATION}, {})
    loaded = load_network(tmp_path / "color.pt")
    assert loaded.image_shape == (3, 9, 10)
    with pytest.raises(InputError, match=r"scan a: its models see images of 3 channel\(s\) in px"):
        Ensemble([loaded], "a")
    light = TrainedNetwork(random_network(0), {"a": [1, 2, 3]}, {"a": NORMALIZATION | {"image_units": "cd/m2"}})
    with pytest.raises(InputError, match=r"of 1 channel\(s\) in cd/m2; images are made for models of gray levels"):
        Ensemble([light], "a")
