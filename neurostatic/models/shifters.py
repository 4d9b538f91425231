"""The shifter: where the eye looks moves every unit's point (ShifterConfig)."""

import itertools

import torch
from torch import nn

from neurostatic.config.networks import Network


def build_shifter(config: Network) -> "MLPShifter | StaticAffineShifter | None":
    """The shifter that a config names: pupil center (image, 2), normalized -> shift (image, 2), x along the width."""
    if config.shifter == "MLP":
        return MLPShifter(config.shift_layers, config.hidden_channels_shifter)
    return StaticAffineShifter(config.gamma_shifter) if config.shifter == "StaticAffine2d" else None


class MLPShifter(nn.Sequential):
    """ShifterConfig.MLP: `layers` linear layers, each followed by tanh; (image, 2) -> (image, 2) in (-1, 1)."""

    def __init__(self, layers: int, hidden_channels: int):
        sizes = [2, *[hidden_channels] * (layers - 1), 2]
        pairs = itertools.pairwise(sizes)
        super().__init__(*(part for pair in pairs for part in (nn.Linear(*pair), nn.Tanh())))

    def initialize(self, mean_eye: torch.Tensor, generator: torch.Generator) -> None:
        """Weights and biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what the published networks began with."""
        initialize_linears(self, generator)

    def regularizer(self) -> torch.Tensor:
        """0."""
        return next(self.parameters()).new_zeros(())


class StaticAffineShifter(nn.Module):
    """ShifterConfig.StaticAffine2d: tanh(W eye + b); (image, 2) -> (image, 2) in (-1, 1)."""

    def __init__(self, gamma_shifter: float):
        super().__init__()
        self.gamma_shifter = gamma_shifter
        self.linear = nn.Linear(2, 2)

    def initialize(self, mean_eye: torch.Tensor, generator: torch.Generator) -> None:
        """W N(0, 1e-6^2); b = -mean_eye (2,), the mean of the normalized pupil center: 0 after z-scoring."""
        with torch.no_grad():
            self.linear.weight.normal_(0, 1e-6, generator=generator)
            self.linear.bias.copy_(-mean_eye)

    def forward(self, eye: torch.Tensor) -> torch.Tensor:
        """(image, 2) -> (image, 2)."""
        return torch.tanh(self.linear(eye))

    def regularizer(self) -> torch.Tensor:
        """gamma_shifter * mean(W^2)."""
        return self.gamma_shifter * self.linear.weight.square().mean()


def initialize_linears(module: nn.Module, generator: torch.Generator) -> None:
    """Draw each linear layer's weights and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
