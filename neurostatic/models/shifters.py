"""The shifter: where the eye looks moves every unit's point."""

import torch
from torch import nn


class MLPShifter(nn.Sequential):
    """ShifterConfig.MLP: pupil center (image, 2), z-scored -> shift (image, 2) in (-1, 1), x along the width.

    Three linear layers 2-5-5-2, each followed by tanh.
    """

    def __init__(self):
        super().__init__(
            nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2), nn.Tanh()
        )  # fmt: skip

    def initialize(self, generator: torch.Generator) -> None:
        """Weights and biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what the published networks began with."""
        initialize_linears(self, generator)


def initialize_linears(module: nn.Module, generator: torch.Generator) -> None:
    """Draw each linear layer's weights and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
