"""Readouts of points: each unit looks at one point of the core's maps, at one scale or several."""

from collections.abc import Callable

import torch
from torch import nn

from neurostatic.models.sampling import sample_bilinear, weigh_bilinear

Levels = Callable[[torch.Tensor], list[torch.Tensor]]


class PointReadout(nn.Module):
    """r_u = sum_lc features_lcu * level_l(maps)_c(point_u + shift) + bias_u.

    SpatialTransformerPyramid2d, its skip-upsampling variant, SpatialTransformerPooled2d and SpatialTransformer2d differ
    in their levels alone.

    Args:
        in_channels: of the maps.
        n_units: number of units.
        levels: maps (image, y, x, channel) -> the maps at each scale.
        n_levels: how many.
        gamma_features: weight of the regularizer.
        positive: features are kept at or above zero.
        init_range: points begin at U(-init_range, init_range).

    Attributes:
        grid: (unit, 2) points (x, y) in [-1, 1]; kept there before each read, the shift is added after.
        features: (level, channel, unit).
        bias: (unit,).
    """

    def __init__(
        self,
        in_channels: int,
        n_units: int,
        levels: Levels,
        n_levels: int,
        gamma_features: float,
        positive: bool,
        init_range: float = 0.1,
    ):
        super().__init__()
        self.levels = levels
        self.gamma_features = gamma_features
        self.positive = positive
        self.init_range = init_range
        self.grid = nn.Parameter(torch.zeros(n_units, 2))
        self.features = nn.Parameter(torch.full((n_levels, in_channels, n_units), 1 / in_channels))
        self.bias = nn.Parameter(torch.zeros(n_units))

    def initialize(self, mean_responses: torch.Tensor, generator: torch.Generator) -> None:
        """Points in the middle; features 1/channels; bias = mean training response - 1 (for ELU + 1)."""
        with torch.no_grad():
            self.grid.uniform_(-self.init_range, self.init_range, generator=generator)
            self.features.fill_(1 / self.features.shape[1])
            self.bias.copy_(mean_responses - 1)

    def forward(
        self,
        maps: torch.Tensor,
        shift: torch.Tensor | None = None,
        units: torch.Tensor | None = None,
        noise: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Responses before the output nonlinearity.

        Args:
            maps: (image, channel, y, x).
            shift: (image, 2), added to every unit's point; or None.
            units: (image,) unit index: image i is read by unit units[i] alone. None: every image by every unit.
            noise: draws the points of a readout whose points are random; None: their means.

        Returns:
            (image, unit), or (image,) if `units` is given.
        """
        return self.read(maps, self.points(len(maps), shift, units, noise), units)

    def points(
        self,
        n_images: int,
        shift: torch.Tensor | None = None,
        units: torch.Tensor | None = None,
        noise: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Where the units look, (image, unit, 2) or, if `units` is given, (image, 1, 2); arguments as of `forward`."""
        if self.grid.requires_grad:  # frozen ones were brought back before
            self._constrain()
        points = self._points(n_images, noise)
        if units is not None:
            points = points[torch.arange(n_images, device=points.device), units][:, None]
        return points if shift is None else points + shift[:, None]

    def read(self, maps: torch.Tensor, points: torch.Tensor, units: torch.Tensor | None = None) -> torch.Tensor:
        """What the units read at `points` of the maps (image, channel, y, x): (image, unit), or (image,)."""
        maps = maps.permute(0, 2, 3, 1)  # (image, y, x, channel)
        if units is None:
            return weigh_bilinear(self.levels(maps), points, self.features) + self.bias
        features, bias = self.features[..., units], self.bias[units]
        if len(features) == 1 or points.requires_grad:  # four pixels are read faster; weights are not differentiated
            levels = zip(self.levels(maps), features, strict=True)
            read = [torch.einsum("nuc,cn->n", sample_bilinear(level, points), feature) for level, feature in levels]
            return torch.stack(read).sum(0) + bias
        seen = torch.einsum("nyxl,nyxc->nlc", self._weights(maps.shape[:3], points), maps)
        return torch.einsum("nlc,lcn->n", seen, features) + bias

    def regularizer(self) -> torch.Tensor:
        """gamma_features * mean |features|."""
        return self.gamma_features * self.features.abs().mean()

    def _weights(self, size: torch.Size, points: torch.Tensor) -> torch.Tensor:
        """How much of each pixel of the maps each image's unit sees at each scale: (image, y, x, level).

        Levels and reading are linear and the same for all channels, so that one channel a level stands for them: the
        weights are its gradient. A pyramid of all channels takes a third of the time of an MEI.
        """
        with torch.enable_grad():
            probe = points.new_zeros(*size, len(self.features)).requires_grad_()
            levels = self.levels(probe)
            seen = [sample_bilinear(levels[level][..., [level]], points) for level in range(len(levels))]
            (weights,) = torch.autograd.grad(torch.stack(seen).sum(), probe)
        return weights

    def _points(self, n_images: int, noise: torch.Generator | None) -> torch.Tensor:
        """(image, unit, 2)."""
        return self.grid.expand(n_images, -1, -1)

    def _constrain(self) -> None:
        with torch.no_grad():
            self.grid.clamp_(-1, 1)
            if self.positive:
                self.features.clamp_(min=0)


class GaussianReadout(PointReadout):
    """FullGaussian2d (Lurz et al. 2021): while it is trained, each unit looks at a random point at every image.

    point = grid + spread z, z ~ N(0, I), kept in [-1, 1]; afterwards at its mean, the grid. One scale, the maps as they
    are. Starts with U(-init_sigma, init_sigma) for the elements of the spread.

    Attributes:
        spread: (unit, 2, 2), whose product with its transpose is the covariance of the points.
    """

    def __init__(
        self,
        in_channels: int,
        n_units: int,
        gamma_features: float,
        positive: bool,
        init_range: float,
        init_sigma: float,
    ):
        super().__init__(in_channels, n_units, lambda maps: [maps], 1, gamma_features, positive, init_range)
        self.init_sigma = init_sigma
        self.spread = nn.Parameter(torch.zeros(n_units, 2, 2))

    def initialize(self, mean_responses: torch.Tensor, generator: torch.Generator) -> None:
        """As every readout of points, and the spread."""
        super().initialize(mean_responses, generator)
        with torch.no_grad():
            self.spread.uniform_(-self.init_sigma, self.init_sigma, generator=generator)

    def _points(self, n_images: int, noise: torch.Generator | None) -> torch.Tensor:
        if noise is None:
            return super()._points(n_images, None)
        # Drawn on the CPU, so that a seed means the same points on every device.
        z = torch.randn(n_images, len(self.grid), 2, generator=noise).to(self.grid)
        return (self.grid + torch.einsum("uij,nuj->nui", self.spread, z)).clamp(-1, 1)
