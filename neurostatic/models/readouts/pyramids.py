"""The scales of the core's maps that a readout sees: Laplace pyramids and repeated pooling."""

import functools

import torch
from torch.nn import functional as F

# Rows whose outer product with themselves is the smoothing filter. The published 5 x 5 Gaussian (sum 0.999998) is such
# a product to its six printed digits.
FILTERS = {
    "gauss5x5": (0.06136027, 0.24476943, 0.38773989, 0.24476943, 0.06136027),
    "gauss3x3": (0.25, 0.5, 0.25),
    "laplace5x5": (0.0625, 0.25, 0.375, 0.25, 0.0625),
}


def pyramid(
    maps: torch.Tensor,
    scale_n: int,
    downsample: bool,
    skip_upsampling: bool = False,
    pyramid_filter: str = "gauss5x5",
) -> list[torch.Tensor]:
    """Laplace pyramid: `scale_n` band-pass levels, finest first, and the low-pass rest.

    low = S maps and band = maps - 4 S' low, with S smoothing by a Gaussian and keeping every second row and column;
    with `skip_upsampling` band = maps - (maps smoothed). Without `downsample`, S keeps all rows and columns, band =
    maps - low, and the levels sum to the input. Borders are padded with zeros. S is separable and written as one small
    matrix an axis, which a CPU multiplies much faster than it convolves single channels.

    Args:
        maps: (image, y, x, channel).
        pyramid_filter: one of FILTERS.

    Returns:
        scale_n + 1 tensors (image, y_level, x_level, channel).
    """
    levels = []
    for _ in range(scale_n):
        vertical, horizontal = (_smoothing(size, pyramid_filter, maps.dtype, maps.device) for size in maps.shape[1:3])
        if downsample and not skip_upsampling:
            low = _apply(vertical[::2], horizontal[::2], maps)
            levels.append(_apply(-4 * vertical[::2].T, horizontal[::2].T, low, maps))
        else:
            smooth = _apply(vertical, horizontal, maps)
            low = smooth[:, ::2, ::2] if downsample else smooth
            levels.append(maps - smooth)
        maps = low
    levels.append(maps)
    return levels


def pooled(maps: torch.Tensor, pool_steps: int) -> list[torch.Tensor]:
    """The maps and `pool_steps` times their means over 2 x 2 px; an odd last row or column is left out.

    Args:
        maps: (image, y, x, channel).

    Returns:
        pool_steps + 1 tensors (image, y_level, x_level, channel).
    """
    levels = [maps]
    for _ in range(pool_steps):
        levels.append(F.avg_pool2d(levels[-1].permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1))
    return levels


@functools.lru_cache(maxsize=256)
def _smoothing(size: int, pyramid_filter: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(size, size) matrix: weighted average around every element, zeros outside."""
    row = torch.tensor(FILTERS[pyramid_filter])
    half = len(row) // 2
    padded = torch.zeros(size, size + 2 * half)
    for center in range(size):
        padded[center, center : center + len(row)] = row
    return padded[:, half : half + size].to(device, dtype)


def _apply(
    vertical: torch.Tensor, horizontal: torch.Tensor, maps: torch.Tensor, offset: torch.Tensor | None = None
) -> torch.Tensor:
    """(image, y, x, channel) -> (image, y', x', channel); on top of an offset, if given."""
    n_images, height, width, n_channels = maps.shape
    rows = (vertical @ maps.reshape(n_images, height, width * n_channels)).view(-1, width, n_channels)
    if offset is None:
        maps = horizontal @ rows
    else:
        maps = torch.baddbmm(offset.reshape(len(rows), -1, n_channels), horizontal.expand(len(rows), -1, -1), rows)
    return maps.view(n_images, len(vertical), len(horizontal), n_channels)
