"""A unit that looks at a point answers from a window of the image as it does from the whole of it."""

import pytest
import torch

from neurostatic.config import Network
from neurostatic.models.networks import CorePlusReadout

SHAPE = (1, 30, 40)
CONFIG = Network(
    hidden_channels=3, input_kern=7, hidden_kern=3, layers=3, skip=0, readout="FullGaussian2d", shifter="StaticAffine2d"
)
POINTS = [[0, 0], [-1, -1], [1, 1], [0.93, -0.2], [-0.5, 0.99], [1, -1], [0.3, -0.97]]


def network_of(shape=SHAPE, **changes):
    """Units all over the maps, at the borders and in the middle; every part random; eval mode."""
    config = CONFIG.__class__(**{**CONFIG.settings(), **changes})
    network = CorePlusReadout(config, {"a": len(POINTS)}, shape).double()
    generator = torch.Generator().manual_seed(0)
    network.initialize({"a": torch.rand(len(POINTS), generator=generator).double()}, generator)
    with torch.no_grad():
        readout = network.readout["a"]
        readout.features.normal_(generator=generator)
        if hasattr(readout, "grid"):
            readout.grid.copy_(torch.tensor(POINTS))
        for norm in network.core.norms:
            if hasattr(norm, "running_mean"):
                norm.running_mean.normal_(generator=generator)
                norm.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval().requires_grad_(False)


def asked(network, shape=SHAPE):
    """Responses of every unit to images of its own and their gradients, and the sizes of images that the core saw."""
    generator = torch.Generator().manual_seed(1)
    units = torch.arange(len(POINTS)).repeat(3)
    images = torch.randn(len(units), *shape, generator=generator).double().requires_grad_()
    eye = 0.4 * torch.randn(len(units), 2, generator=generator).double()  # some points leave the maps
    seen = []
    hook = network.core.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    response = network(images, "a", eye, None, units)
    response.sum().backward()
    hook.remove()
    whole = images.detach().clone().requires_grad_()
    expected = network(whole, "a", eye).gather(1, units[:, None])[:, 0]
    expected.sum().backward()
    return (response, images.grad), (expected, whole.grad), seen


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (12, 12)),  # maps: 2 * 2 + 2 px; images: 6 px more
        ({"readout": "SpatialTransformer2d"}, (12, 12)),
        ({"skip": 2, "bias": True}, (12, 12)),
        ({"hidden_kern": 5, "layers": 4}, (20, 20)),
        ({"pad_input": True}, (12, 12)),  # the maps are as large: 2 * 5 + 2 px
        ({"core": "LinearGaussianLaplace"}, (8, 8)),
        ({"core": "StackedLinearGaussianLaplace", "batch_norm": False}, (12, 12)),
        ({"core": "Identity"}, (2, 2)),
        ({"hidden_kern": 13}, (30, 32)),  # no higher than the image is
    ],
)
def test_a_window_is_enough(changes, size):
    (response, gradient), (expected, whole), seen = asked(network_of(**changes))
    assert seen == [size]
    torch.testing.assert_close(response, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(gradient, whole, rtol=0, atol=1e-11)
    assert (whole != 0).any((1, 2, 3)).sum() > 15 and expected.unique().numel() > 15


@pytest.mark.parametrize(
    "changes",
    [
        {"readout": "SpatialTransformerPooled2d", "pool_steps": 1},
        {"core": "Linear", "input_kern": 6},
        {"readout": "SpatialXFeatures"},
    ],
)
def test_other_networks_see_the_whole_image(changes):
    (response, gradient), (expected, whole), seen = asked(network_of(**changes))
    assert seen == [SHAPE[1:]]
    torch.testing.assert_close(response, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(gradient, whole, rtol=0, atol=1e-11)


def test_a_network_in_training_sees_the_whole_image():
    assert asked(network_of().train())[2] == [SHAPE[1:]]


def test_maps_of_a_single_row():
    network = network_of((1, 7, 40))
    (response, gradient), (expected, whole), seen = asked(network, (1, 7, 40))
    assert seen == [(7, 12)] and expected.unique().numel() > 10
    torch.testing.assert_close(response, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(gradient, whole, rtol=0, atol=1e-11)


def test_color_images_are_cut_alike():
    network = network_of((3, 20, 24))
    (response, gradient), (expected, whole), seen = asked(network, (3, 20, 24))
    assert seen == [(12, 12)]
    torch.testing.assert_close(response, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(gradient, whole, rtol=0, atol=1e-11)
