"""The modulator: pupil and running scale every unit's response (ModulatorConfig)."""

import itertools

import torch
from torch import nn

from neurostatic.config.networks import Network
from neurostatic.models.shifters import initialize_linears


def build_modulator(config: Network, n_units: int) -> "MLPModulator | None":
    """The modulator that a config names."""
    if config.modulator == "none":
        return None
    return MLPModulator(n_units, config.modulator_layers, config.hidden_channels_modulator, config.gamma_modulator)


class MLPModulator(nn.Module):
    """ModulatorConfig.MLP: behavior (image, 3) -> gain (image, unit) = exp(Linear(h)), h of `layers` ReLU layers.

    Behavior is pupil radius, its derivative and running speed, each divided by its standard deviation.
    """

    def __init__(self, n_units: int, layers: int, hidden_channels: int, gamma_modulator: float):
        super().__init__()
        self.gamma_modulator = gamma_modulator
        sizes = [3, *[hidden_channels] * layers]
        pairs = itertools.pairwise(sizes)
        self.hidden = nn.Sequential(*(part for pair in pairs for part in (nn.Linear(*pair), nn.ReLU())))
        self.linear = nn.Linear(hidden_channels, n_units)

    def initialize(self, generator: torch.Generator) -> None:
        """Weights and biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what the published networks began with."""
        initialize_linears(self, generator)

    def forward(self, behavior: torch.Tensor) -> torch.Tensor:
        """(image, 3) -> (image, unit)."""
        return torch.exp(self.linear(self.hidden(behavior)))

    def regularizer(self) -> torch.Tensor:
        """gamma_modulator * mean |W| of the last layer."""
        return self.gamma_modulator * self.linear.weight.abs().mean()
