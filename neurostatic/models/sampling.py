"""One deterministic bilinear read of maps at points."""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.nn import functional as F

from neurostatic.models.compiled import add_to_features, add_to_maps, read


def sample_bilinear(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Read every channel of every map at points, bilinearly, with zeros outside.

    Equal to grid_sample(align_corners=True, padding_mode="zeros"): a point of -1 or 1 is the center of the first or
    last pixel, pixel = (point + 1) / 2 * (size - 1). As a weighted sum of four rows (`embedding_bag`) no corner's
    values are kept, and the gradient of the maps is written once. The same input gives the same bits, on a GPU under
    torch.use_deterministic_algorithms(True).

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
    return torch.unflatten(sampled, 0, points.shape[:2])


def weigh_bilinear(levels: list[torch.Tensor], points: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """What units see: response_iu = sum_lc sample_bilinear(level_l, points)_iuc features_lcu.

    On a CPU no sampled value is kept (`loops`): a pyramid is read, gradients included, 5 times faster by 1,000 units
    and 15 times by 5,000, and the memory of a step does not grow with channels times units. The same input gives the
    same bits.

    Args:
        levels: maps (image, y, x, channel) at each scale.
        points: (image, unit, 2), as of `sample_bilinear`.
        features: (level, channel, unit).

    Returns:
        (image, unit).

    Raises ValueError for numbers of images, channels or units that differ: the loops would read beyond the arrays.
    """
    for level in levels:
        if (len(level), level.shape[3], points.shape[1]) != (len(points), *features.shape[1:]):
            raise ValueError(
                f"maps {tuple(level.shape)}, points {tuple(points.shape)}, features {tuple(features.shape)}"
            )
    if points.device.type == "cpu" and points.dtype in (torch.float32, torch.float64):
        return _Weighed.apply(points, features, *levels)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    pairs = zip(levels, features, strict=True)
    seen = [torch.einsum("nuc,cu->nu", sample_bilinear(level, points), feature) for level, feature in pairs]
    return sum(seen[1:], seen[0])


class _Weighed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: torch.Tensor, features: torch.Tensor, *levels: torch.Tensor) -> torch.Tensor:
        levels, points = tuple(level.contiguous() for level in levels), points.contiguous()
        features = features.transpose(1, 2).contiguous()  # (level, unit, channel)
        responses, slopes = points.new_zeros(points.shape[:2]), torch.zeros_like(points)
        _in_threads(
            len(points), read, [(*pair, points, responses, slopes) for pair in zip(levels, features, strict=True)]
        )
        ctx.save_for_backward(points, features, slopes, *levels)
        return responses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        points, features, slopes, *levels = ctx.saved_tensors
        upstream = upstream.contiguous()
        of_points = of_features = None
        of_levels: Sequence[torch.Tensor | None] = [None] * len(levels)
        if ctx.needs_input_grad[0]:
            of_points = upstream[..., None] * slopes
        if ctx.needs_input_grad[1]:
            of_features = torch.zeros_like(features)
            pairs = zip(of_features, levels, strict=True)
            _in_threads(points.shape[1], add_to_features, [(*pair, points, upstream) for pair in pairs])
            of_features = of_features.transpose(1, 2)
        if any(ctx.needs_input_grad[2:]):
            gradients = [torch.zeros_like(level) for level in levels]
            pairs = zip(gradients, features, strict=True)
            _in_threads(len(points), add_to_maps, [(*pair, points, upstream) for pair in pairs])
            of_levels = gradients
        return of_points, of_features, *of_levels


def _in_threads(n: int, loop: Callable[..., None], calls: Sequence[tuple[torch.Tensor, ...]]) -> None:
    """loop(*arrays, first, last) of each call, over parts of range(n) that torch's number of threads take in turn."""
    arrays_of = [[tensor.detach().numpy() for tensor in call] for call in calls]
    n_threads = torch.get_num_threads()
    n_parts = min(n, 4 * n_threads)  # some to spare: torch's own threads stay busy for a while after their work
    cuts = [n * part // n_parts for part in range(n_parts + 1)] if n else []
    parts = iter(list(itertools.pairwise(cuts)))

    def work() -> None:
        for first, last in parts:
            for arrays in arrays_of:
                loop(*arrays, first, last)

    with ThreadPoolExecutor(max(1, n_threads - 1)) as pool:
        others = [pool.submit(work) for _ in range(n_threads - 1)]
        work()
        for other in others:
            other.result()
