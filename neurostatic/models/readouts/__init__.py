"""Readouts: how each unit is driven by the core's maps (ReadoutConfig)."""

import torch

from neurostatic.config.networks import Network
from neurostatic.models.readouts.masks import MaskReadout
from neurostatic.models.readouts.points import GaussianReadout, PointReadout
from neurostatic.models.readouts.pyramids import pooled, pyramid

__all__ = ["GaussianReadout", "MaskReadout", "PointReadout", "build_readout", "pooled", "pyramid"]


def build_readout(
    config: Network, in_channels: int, map_size: tuple[int, int], n_units: int
) -> MaskReadout | PointReadout:
    """The readout that a config names, for maps of (in_channels, *map_size)."""
    if config.readout == "SpatialXFeatures":
        return MaskReadout(
            in_channels, n_units, map_size, config.gamma_readout, config.positive, config.normalize_spatial
        )
    if config.readout == "FullGaussian2d":
        return GaussianReadout(
            in_channels, n_units, config.gamma_features, config.positive, config.init_range, config.init_sigma
        )
    if "Pyramid" in config.readout:
        skip_upsampling = config.readout == "ModifiedSpatialTransformerPyramid2d"

        def levels(maps: torch.Tensor) -> list[torch.Tensor]:
            return pyramid(maps, config.scale_n, config.downsample, skip_upsampling, config.pyramid_filter)

        n_levels = config.scale_n + 1
    else:
        pool_steps = config.pool_steps if config.readout == "SpatialTransformerPooled2d" else 0

        def levels(maps: torch.Tensor) -> list[torch.Tensor]:
            return pooled(maps, pool_steps)

        n_levels = pool_steps + 1
    return PointReadout(in_channels, n_units, levels, n_levels, config.gamma_features, config.positive)
