"""One unit an image: the core is computed where the unit looks, and nowhere else."""

import torch

from neurostatic.models.cores import StackedCore
from neurostatic.models.readouts.points import PointReadout


def has_windows(core: StackedCore, readout: PointReadout) -> bool:
    """Whether each response rests on a window of the image alone.

    It does if the maps are read at one scale; not in training, where batch norm averages over all of the maps, and not
    with kernels of an even size, whose maps grow.
    """
    odd = all(size % 2 for convolution in core.convolutions for size in convolution.kernel_size)
    return len(readout.features) == 1 and odd and not core.training


def read_in_windows(
    core: StackedCore,
    readout: PointReadout,
    images: torch.Tensor,
    shift: torch.Tensor | None,
    units: torch.Tensor,
) -> torch.Tensor:
    """readout(core(images), shift, units), to rounding, at the cost of a window of the image.

    A bilinear read at a point needs the two maps' pixels on either side of it, and these the pixels up to `core.reach`
    away. The window lies in the maps, so that their border is its border where the two touch; elsewhere the zeros
    around it do not reach the point.

    Args:
        images: (image, channel, y, x); shift: (image, 2) or None; units: (image,).

    Returns:
        (image,) before the output nonlinearity.
    """
    map_size = torch.tensor(images.shape[-2:], device=images.device) - core.lost  # (y, x)
    size = map_size.clamp(max=2 * core.reach + 2)
    points = readout.points(len(images), shift, units)[:, 0]  # (image, 2), (x, y)
    place = (points.flip(-1) + 1) / 2 * (map_size - 1)  # (image, 2), (y, x) in pixels of the maps
    start = (place.detach().nan_to_num().floor().long() - core.reach).clamp(min=0).minimum(map_size - size)
    points = 2 * (place - start) / (size - 1).clamp(min=1) - 1  # maps of a single row have one place
    maps = core(_cut(images, start, (size + core.lost).tolist()))
    return readout.read(maps, points.flip(-1)[:, None], units)


def _cut(images: torch.Tensor, start: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Windows (image, channel, *size) of images (image, channel, y, x), from start (image, 2) (y, x) on."""
    n_channels, _, width = images.shape[1:]
    rows, columns = (start[:, i, None] + torch.arange(size[i], device=images.device) for i in (0, 1))
    pixels = (rows[:, :, None] * width + columns[:, None]).flatten(1)  # (image, pixel)
    windows = images.flatten(2).gather(2, pixels[:, None].expand(-1, n_channels, -1))
    return torch.unflatten(windows, 2, size)
