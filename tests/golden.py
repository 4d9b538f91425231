"""Deterministic numbers of the published golden checks, and the small network F that several of them share."""

import math

import torch

from neurostatic.config import Network
from neurostatic.models import CorePlusReadout

EYE = torch.tensor([[1.0, -0.5], [-2.0, 0.25]], dtype=torch.float64)
BEHAVIOR = torch.tensor([[1.0, 0.0, 0.5], [0.2, -0.1, 2.0]], dtype=torch.float64)
NETWORK_F = Network(hidden_channels=2, input_kern=5, hidden_kern=3, layers=3, scale_n=2)


def fill(shape: tuple[int, ...], a: int = 7, m: int = 11) -> torch.Tensor:
    """R(shape; a, m): v_i = (((a i) mod m) - (m - 1)/2) / 10 in C order, float64."""
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return ((a * i).remainder(m) - (m - 1) / 2).reshape(shape) / 10


def fill_core(core) -> None:
    """Layer l's kernels = R(shape; 7 + 2 l, 11 + 2 l)."""
    with torch.no_grad():
        for layer, convolution in enumerate(core.convolutions):
            convolution.weight.copy_(fill(tuple(convolution.weight.shape), 7 + 2 * layer, 11 + 2 * layer))


def fill_linears(module) -> None:
    """The k-th linear layer: weight R(shape; 7 + 2 k, 13), bias all 0.1 (k + 1)."""
    linears = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for k, linear in enumerate(linears):
            linear.weight.copy_(fill(tuple(linear.weight.shape), 7 + 2 * k, 13))
            linear.bias.fill_(0.1 * (k + 1))


def network_f() -> CorePlusReadout:
    """The full model F, float64, in eval mode: toy core, pyramid readout, shifter, modulator; scan 'a', 3 units."""
    network = CorePlusReadout(NETWORK_F, {"a": 3}, (1, 9, 10)).double().eval()
    fill_core(network.core)
    fill_linears(network.shifter["a"])
    fill_linears(network.modulator["a"])
    readout = network.readout["a"]
    with torch.no_grad():
        readout.grid.copy_(torch.tensor([[-0.5, 0.25], [0.9, -0.9], [0.3, 0.0]]))
        readout.features.copy_(fill((3, 6, 3)) / 10)  # published (1, level * channel, 1, unit), level-major
        readout.bias.copy_(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    return network


def images_f() -> torch.Tensor:
    """(2, 1, 9, 10)."""
    return fill((2, 1, 9, 10), 5, 13)


def close(actual: torch.Tensor, expected, tolerance: float = 2e-6) -> None:
    """Assert equality to the printed digits."""
    torch.testing.assert_close(
        actual.detach().double(), torch.as_tensor(expected, dtype=torch.float64), rtol=0, atol=tolerance
    )
