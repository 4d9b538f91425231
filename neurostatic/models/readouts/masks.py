"""The readout of a mask: each unit sums the core's maps over a spatial mask."""

import torch
from torch import nn

from neurostatic.models.sampling import sample_bilinear

NORM_GUARD = 1e-6  # added to the norm of a mask before it divides


class MaskReadout(nn.Module):
    """SpatialXFeatures: r_u = sum_yxc maps_cyx * mask_uyx * features_cu + bias_u, with masks at or above zero.

    The shift moves the maps under the masks (upstream took it and did nothing with it). The regularizer is what was
    intended, a sum of products; upstream's was a product of sums by a slip.

    Attributes:
        masks: (unit, y, x); features: (channel, unit); bias: (unit,).
    """

    def __init__(self, in_channels: int, n_units: int, map_size: tuple[int, int], gamma_readout: float,
                 positive: bool, normalize: bool):  # fmt: skip
        super().__init__()
        self.gamma_readout = gamma_readout
        self.positive = positive
        self.normalize = normalize
        self.masks = nn.Parameter(torch.zeros(n_units, *map_size))
        self.features = nn.Parameter(torch.zeros(in_channels, n_units))
        self.bias = nn.Parameter(torch.zeros(n_units))

    def initialize(self, mean_responses: torch.Tensor, generator: torch.Generator) -> None:
        """Masks and features N(0, 1e-6^2); bias = mean training response - 1 (for ELU + 1)."""
        with torch.no_grad():
            self.masks.normal_(0, 1e-6, generator=generator)
            self.features.normal_(0, 1e-6, generator=generator)
            self.bias.copy_(mean_responses - 1)

    def forward(
        self,
        maps: torch.Tensor,
        shift: torch.Tensor | None = None,
        units: torch.Tensor | None = None,
        noise: torch.Generator | None = None,
    ) -> torch.Tensor:
        """As `PointReadout.forward`; nothing of this readout is random."""
        if self.masks.requires_grad:  # frozen ones were brought back before
            with torch.no_grad():
                self.masks.clamp_(min=0)
                if self.positive:
                    self.features.clamp_(min=0)
        maps = maps.permute(0, 2, 3, 1)  # (image, y, x, channel)
        if shift is not None:
            maps = _shifted(maps, shift)
        masks = self._normalized()
        if units is None:
            return torch.einsum("nuc,cu->nu", torch.einsum("nyxc,uyx->nuc", maps, masks), self.features) + self.bias
        seen = torch.einsum("nyxc,nyx->nc", maps, masks[units])
        return torch.einsum("nc,cn->n", seen, self.features[:, units]) + self.bias[units]

    def regularizer(self) -> torch.Tensor:
        """gamma_readout * mean_ucyx |mask_uyx features_cu|."""
        masks = self._normalized().abs().mean((1, 2))
        return self.gamma_readout * (masks * self.features.abs().mean(0)).mean()

    def _normalized(self) -> torch.Tensor:
        if not self.normalize:
            return self.masks
        power = self.masks.square().sum((1, 2), keepdim=True).clamp(min=1e-24)  # the root has no gradient at 0
        return self.masks / (power.sqrt() + NORM_GUARD)


def _shifted(maps: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Each image's maps (image, y, x, channel) as seen from its own shift (image, 2); zeros from outside."""
    n_images, height, width, _ = maps.shape
    y, x = (torch.linspace(-1, 1, size, dtype=maps.dtype, device=maps.device) for size in (height, width))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(1, -1, 2) + shift[:, None]
    return sample_bilinear(maps, points).reshape(n_images, height, width, -1)
