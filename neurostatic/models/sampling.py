"""One deterministic bilinear read of maps at points."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.nn import functional as F

from neurostatic.models.loops import add_to_features, add_to_maps, read


def sample_bilinear(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Read every channel of every map at points, bilinearly, with zeros outside.

    Equal to grid_sample(align_corners=True, padding_mode="zeros"): a point of -1 or 1 is the center of the first or
    last pixel, pixel = (point + 1) / 2 * (size - 1). As a weighted sum of four rows (`embedding_bag`) no corner's
    values are kept, and the gradient of the maps is written once: a third less time for a training step with the
    pyramid. The same input gives the same bits, on a GPU under torch.use_deterministic_algorithms(True).

    Args:
        maps: (image, y, x, channel).
        points: (image, unit, 2), normalized (x, y): x runs along the width.

    Returns:
        (image, unit, channel).
    """
    n_images, height, width, n_channels = maps.shape
    first_row = torch.arange(n_images, device=maps.device)[:, None, None] * (height * width)
    x = (points[..., 0] + 1) / 2 * (width - 1)
    y = (points[..., 1] + 1) / 2 * (height - 1)
    left, top = x.detach().floor(), y.detach().floor()
    # The four corners around a point: (image, unit, corner)
    corner_x, corner_y = torch.stack([left, left + 1] * 2, -1), torch.stack([top, top, top + 1, top + 1], -1)
    x_weight, y_weight = torch.stack([left + 1 - x, x - left], -1), torch.stack([top + 1 - y, y - top], -1)
    weights = (y_weight[..., :, None] * x_weight[..., None, :]).flatten(-2)
    inside = (corner_x >= 0) & (corner_x <= width - 1) & (corner_y >= 0) & (corner_y <= height - 1)
    row = corner_y.clamp(0, height - 1) * width + corner_x.clamp(0, width - 1)
    row = row.nan_to_num().long() + first_row  # a NaN point gives NaN by its weight
    sampled = F.embedding_bag(
        row.flatten(0, 1),
        maps.reshape(-1, n_channels),  # (image * y * x, channel)
        per_sample_weights=(weights * inside).flatten(0, 1),
        mode="sum",
    )
    return sampled.unflatten(0, points.shape[:2])


def weigh_bilinear(maps: torch.Tensor, points: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """What units see of maps: response_iu = sum_c sample_bilinear(maps, points)_iuc features_cu.

    On a CPU no sampled value is kept (`loops`): of 5,000 units nine times faster with its gradients, and the memory of
    a training step no longer grows with channels times units. The same input gives the same bits.

    Args:
        maps: (image, y, x, channel).
        points: (image, unit, 2), as of `sample_bilinear`.
        features: (channel, unit).

    Returns:
        (image, unit).
    """
    if maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.float64):
        return _Weighed.apply(maps, points, features)
    return torch.einsum("nuc,cu->nu", sample_bilinear(maps, points), features)


class _Weighed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps, points, features):
        maps, points, features = maps.contiguous(), points.contiguous(), features.T.contiguous()
        responses, slopes = points.new_empty(points.shape[:2]), torch.empty_like(points)
        _in_threads(read, len(maps), maps, points, features, responses, slopes)
        ctx.save_for_backward(maps, points, features, slopes)
        return responses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        maps, points, features, slopes = ctx.saved_tensors
        upstream = upstream.contiguous()
        of_maps = of_points = of_features = None
        if ctx.needs_input_grad[0]:
            of_maps = torch.zeros_like(maps)
            _in_threads(add_to_maps, len(maps), upstream, points, features, of_maps)
        if ctx.needs_input_grad[1]:
            of_points = upstream[..., None] * slopes
        if ctx.needs_input_grad[2]:
            of_features = torch.zeros_like(features)
            _in_threads(add_to_features, len(features), upstream, points, maps, of_features)
            of_features = of_features.T
        return of_maps, of_points, of_features


def _in_threads(loop: Callable, n: int, *tensors: torch.Tensor) -> None:
    """loop(*arrays, first, last) over the parts of range(n), one part to each of torch's threads."""
    arrays = [tensor.detach().numpy() for tensor in tensors]
    n_threads = torch.get_num_threads()
    cuts = [n * thread // n_threads for thread in range(n_threads + 1)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda first, last: loop(*arrays, first, last), cuts, cuts[1:]))
