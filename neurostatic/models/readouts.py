"""The readout: each unit looks at one point of the core's maps, at several scales."""

import torch
from torch import nn

from neurostatic.models.sampling import sample_bilinear

# The published 5 x 5 Gaussian (sum 0.999998) is, to its six printed digits, the outer product of this row with itself.
GAUSS_5 = torch.tensor([0.06136027, 0.24476943, 0.38773989, 0.24476943, 0.06136027])


def pyramid(maps: torch.Tensor, scale_n: int, downsample: bool) -> list[torch.Tensor]:
    """Laplace pyramid: `scale_n` band-pass levels, finest first, and the low-pass rest.

    low = S maps and band = maps - 4 S' low, with S smoothing by a Gaussian and keeping every second row and column;
    without `downsample`, S keeps all of them, band = maps - low, and the levels sum to the input. Borders are padded
    with zeros. S is separable and written as one small matrix an axis, which a CPU multiplies much faster than it
    convolves single channels.

    Args:
        maps: (image, y, x, channel).

    Returns:
        scale_n + 1 tensors (image, y_level, x_level, channel).
    """
    levels = []
    for _ in range(scale_n):
        stride = 2 if downsample else 1
        vertical = _smoothing(maps.shape[1], stride).to(maps)
        horizontal = _smoothing(maps.shape[2], stride).to(maps)
        low = _apply(vertical, horizontal, maps)
        levels.append(maps - (4 * _apply(vertical.T, horizontal.T, low) if downsample else low))
        maps = low
    levels.append(maps)
    return levels


def _smoothing(size: int, stride: int) -> torch.Tensor:
    """(ceil(size / stride), size) matrix: Gaussian average around every stride-th element, zeros outside."""
    padded = torch.zeros(-(-size // stride), size + 4)
    for row, center in enumerate(range(0, size, stride)):
        padded[row, center : center + 5] = GAUSS_5
    return padded[:, 2:-2]


def _apply(vertical: torch.Tensor, horizontal: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """(image, y, x, channel) -> (image, y', x', channel)."""
    n_images, height, width, n_channels = maps.shape
    maps = vertical @ maps.reshape(n_images, height, width * n_channels)
    maps = horizontal @ maps.reshape(-1, width, n_channels)
    return maps.reshape(n_images, len(vertical), len(horizontal), n_channels)


class PyramidReadout(nn.Module):
    """ReadoutConfig.SpatialTransformerPyramid2d: r_u = sum_lc features_lcu * P_l(maps)_c(point_u + shift) + bias_u.

    Attributes:
        grid: (unit, 2) points (x, y) in [-1, 1]; kept there before each read, the shift is added after.
        features: (level, channel, unit).
        bias: (unit,).
    """

    def __init__(self, in_channels: int, n_units: int, scale_n: int, downsample: bool, gamma_features: float,
                 positive: bool):  # fmt: skip
        super().__init__()
        self.scale_n = scale_n
        self.downsample = downsample
        self.gamma_features = gamma_features
        self.positive = positive
        self.grid = nn.Parameter(torch.zeros(n_units, 2))
        self.features = nn.Parameter(torch.full((scale_n + 1, in_channels, n_units), 1 / in_channels))
        self.bias = nn.Parameter(torch.zeros(n_units))

    def initialize(self, mean_responses: torch.Tensor, generator: torch.Generator) -> None:
        """Points in the middle, U(-0.1, 0.1); features 1/channels; bias = mean training response - 1 (for ELU + 1)."""
        with torch.no_grad():
            self.grid.uniform_(-0.1, 0.1, generator=generator)
            self.features.fill_(1 / self.features.shape[1])
            self.bias.copy_(mean_responses - 1)

    def forward(self, maps: torch.Tensor, shift: torch.Tensor | None = None, units: torch.Tensor | None = None):
        """Responses before the output nonlinearity.

        Args:
            maps: (image, channel, y, x).
            shift: (image, 2), added to every unit's point; or None.
            units: (image,) unit index: image i is read by unit units[i] alone. None: every image by every unit.

        Returns:
            (image, unit), or (image,) if `units` is given.
        """
        self._constrain()
        grid, features, bias = self.grid, self.features, self.bias
        if units is None:
            points = grid.expand(len(maps), -1, -1)  # (image, unit, 2)
            weighted = "nuc,cu->nu"
        else:
            points, features, bias = (
                grid[units][:, None],
                features[..., units],
                bias[units],
            )  # (image, 1, 2), ...
            weighted = "nuc,cn->n"
        if shift is not None:
            points = points + shift[:, None]
        levels = pyramid(maps.permute(0, 2, 3, 1), self.scale_n, self.downsample)
        read = [
            torch.einsum(weighted, sample_bilinear(level, points), feature)
            for level, feature in zip(levels, features, strict=True)
        ]
        return torch.stack(read).sum(0) + bias

    def regularizer(self) -> torch.Tensor:
        """gamma_features * mean |features|."""
        return self.gamma_features * self.features.abs().mean()

    def _constrain(self) -> None:
        with torch.no_grad():
            self.grid.clamp_(-1, 1)
            if self.positive:
                self.features.clamp_(min=0)
