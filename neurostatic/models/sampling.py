"""One deterministic bilinear read of maps at points."""

import torch


def sample_bilinear(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Read every channel of every map at points, bilinearly, with zeros outside.

    Equal to grid_sample(align_corners=True, padding_mode="zeros"): a point of -1 or 1 is the center of the first or
    last pixel, pixel = (point + 1) / 2 * (size - 1). Built from index_select, whose backward adds rows in order: the
    same input gives the same bits, on a GPU under torch.use_deterministic_algorithms(True).

    Args:
        maps: (image, y, x, channel).
        points: (image, unit, 2), normalized (x, y): x runs along the width.

    Returns:
        (image, unit, channel).
    """
    n_images, height, width, n_channels = maps.shape
    n_units = points.shape[1]
    rows = maps.reshape(-1, n_channels)  # (image * y * x, channel)
    first_row = torch.arange(n_images, device=maps.device)[:, None] * (height * width)
    x = (points[..., 0] + 1) / 2 * (width - 1)
    y = (points[..., 1] + 1) / 2 * (height - 1)
    left, top = x.detach().floor(), y.detach().floor()
    sampled = None
    for corner_y, weight_y in ((top, top + 1 - y), (top + 1, y - top)):
        for corner_x, weight_x in ((left, left + 1 - x), (left + 1, x - left)):
            inside = (corner_x >= 0) & (corner_x <= width - 1) & (corner_y >= 0) & (corner_y <= height - 1)
            weight = weight_x * weight_y * inside  # (image, unit)
            row = corner_y.clamp(0, height - 1) * width + corner_x.clamp(0, width - 1)
            row = (row.nan_to_num().long() + first_row).flatten()  # a NaN point gives NaN by its weight
            value = rows.index_select(0, row).reshape(n_images, n_units, n_channels) * weight[..., None]
            sampled = value if sampled is None else sampled + value
    return sampled
