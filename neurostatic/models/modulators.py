"""The modulator: pupil and running scale every unit's response."""

import torch
from torch import nn

from neurostatic.models.shifters import initialize_linears


class MLPModulator(nn.Module):
    """ModulatorConfig.MLP: behavior (image, 3) -> gain (image, unit) = exp(Linear(h)), h two ReLU layers of 10.

    Behavior is pupil radius, its derivative and running speed, each divided by its standard deviation.
    """

    def __init__(self, n_units: int):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(3, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU())
        self.linear = nn.Linear(10, n_units)

    def initialize(self, generator: torch.Generator) -> None:
        """Weights and biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what the published networks began with."""
        initialize_linears(self, generator)

    def forward(self, behavior: torch.Tensor) -> torch.Tensor:
        """(image, 3) -> (image, unit)."""
        return torch.exp(self.linear(self.hidden(behavior)))
