"""Images of one unit that differ from each other and still excite it: what a unit is invariant to."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr

from neurostatic.config import Meis
from neurostatic.stimuli.ascent import EPSILON, Respond, blur, confine, limit_contrast, step_up
from neurostatic.stimuli.scale import FLAT_STD_PX, Scale

METRICS = ("correlation", "cosine", "euclidean")
LINKAGES = ("minimum", "average")

MARGIN = 0.01  # of the MEI's response: the first step aims this far above the ratio, as responses bend; it falls to 0
ROUNDING = 1e-4  # likewise: a set must be this far above to be kept, and steps aim at twice as much
SPREAD_STEP = 0.15  # length of the first step apart, relative to the MEI's norm; it falls to 0
RESTORE_STEP = 0.3  # longest step back to the ratio, likewise
START_NOISE = 0.1  # norm of the noise that tells the images of a set apart at the start, likewise
BLUR_SIGMA_PX = 1.0  # of noise and directions: images are to differ in form, not in grain
MATCH_ROUNDS = 20  # scale and clip in turn: the error falls by the clipped share of the variance each time


def diverse_ascent(
    respond: Respond,
    questions: torch.Tensor,
    images: torch.Tensor,
    bounds: tuple[float, float],
    image_std_px: float,
    config: Meis,
    mask: torch.Tensor,
    diversity_weight: float = 1.0,
    metric: str = "correlation",
    linkage: str = "minimum",
) -> torch.Tensor:
    """The published joint ascent of two or more images of one unit, by `ascend`'s rule on one common objective.

    objective = mean_i(respond(x_i)) + diversity_weight * diversity(x, mask),  mean|g| over all images

    Jitter is left out. With a train_norm the response is that of the limited images, the diversity that of the images.

    Args:
        questions: (image,) long, all of one unit.
        images: (image, y, x) normalized; bounds: of the normalized gray levels; mask: (y, x) weights.
        metric, linkage: as in `diversity`.

    Returns:
        images as given, after the last step.

    Raises:
        ValueError: fewer than 2 images, or an unknown metric or linkage.

    Source: diverse_deepdraw.
    """
    for i in range(config.iterations):
        images = images.detach().requires_grad_(True)
        shown = images
        if config.train_norm_px > 0:
            shown = limit_contrast(shown, config.train_norm_px / image_std_px)
        objective = respond(shown, questions).mean() + diversity_weight * diversity(images, mask, metric, linkage)
        (gradient,) = torch.autograd.grad(objective, images)
        done = i / config.iterations
        images = step_up(images.detach(), gradient, done, image_std_px, config, together=True)
        images = confine(images, done, bounds, config)
    return images.detach()


def diversity(
    images: torch.Tensor, mask: torch.Tensor, metric: str = "euclidean", linkage: str = "average"
) -> torch.Tensor:
    """How different images are from each other under a mask, from all pairs.

    correlation: -sum(m a' b') / sqrt(sum(m a'^2) sum(m b'^2)) with a' = a - sum(m a) / sum(m); cosine: with a' = a;
    euclidean: sqrt(sum(m (a - b)^2)). minimum: of the most alike pair; average: of all pairs.

    Args:
        images: (..., image, y, x); mask: (..., y, x) weights, broadcast.

    Returns:
        (...), in the units of the images for euclidean.

    Raises:
        ValueError: fewer than 2 images, or an unknown metric or linkage.

    Source: diverse_deepdraw.
    """
    if images.shape[-3] < 2 or metric not in METRICS or linkage not in LINKAGES:
        raise ValueError(
            f"diversity: {images.shape[-3]} image(s), {metric=}, {linkage=}; needs 2, {METRICS}, {LINKAGES}"
        )
    pixels = images.flatten(-2)
    weights = mask.flatten(-2).unsqueeze(-2)
    first, second = torch.triu_indices(images.shape[-3], images.shape[-3], 1, device=images.device)
    if metric == "correlation":
        pixels = pixels - (weights * pixels).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True)
    pixels = weights.sqrt() * pixels
    if metric == "euclidean":
        # Not from the products of pairs: they cancel for images that are nearly the same. At 0 its gradient is 0.
        pairs = torch.linalg.vector_norm(pixels[..., first, :] - pixels[..., second, :], dim=-1)
    else:
        pixels = pixels / torch.linalg.vector_norm(pixels, dim=-1, keepdim=True)
        pairs = -(pixels @ pixels.mT)[..., first, second]
    return pairs.amin(-1) if linkage == "minimum" else pairs.mean(-1)


def diverse_images(
    respond: Respond,
    questions: torch.Tensor,
    mei_px: np.ndarray,
    scale: Scale,
    scans: Sequence[str],
    unit_ids: Sequence[int],
    masks: np.ndarray | None = None,
    n_images: int = 10,
    minimum_ratio: float = 0.85,
    steps: int = 100,
    seed: int = 0,
    batch_units: int = 25,
    report: Callable[[str], None] = print,
) -> xr.Dataset:
    """Diverse exciting inputs: images as far from each other as a response near the MEI's allows.

    maximize the mean over i < j of distance(mask x_i, mask x_j)  so that  respond(x_i) >= minimum_ratio * respond(MEI),
    mean(x_i) = mean(MEI), std(x_i) = std(MEI) (ddof 1), 0 <= x_i <= 255 px, for every image i of the set

    The mean distance of pixels and the 85 % are those of the literature; the search is ours. Of all steps at which a
    whole set keeps the ratio, the one of the largest distance is returned.

    Args:
        questions: (unit,) long.
        mei_px: (unit, y, x) gray levels; scale: of the images that the network was trained on.
        scans, unit_ids: (unit,) who the units are: each has its own stream of noise, in any batch.
        masks: (unit, y, x) in 0..1, where images may differ and are compared; everywhere if None.
        n_images: of a set. batch_units: whose images pass the network together; it changes nothing else.

    Returns:
        diverse (unit, variant, y, x) px; ratio (unit, variant) of the MEI's response; similarity (unit), the mean
        pairwise Pearson correlation under the mask; distance_px (unit), the mean pairwise Euclidean distance there;
        failed (unit): the reason, or "". A failed unit's numbers are NaN and touch no other's.

    Raises:
        ValueError: n_images below 2, minimum_ratio not between 0 and 1.

    Source: diverse (later: varied) exciting inputs, Ding et al. 2026, doi 10.1038/s41593-026-02213-3.
    """
    if n_images < 2 or not 0 < minimum_ratio < 1:
        raise ValueError(f"diverse_images: needs n_images >= 2, 0 < minimum_ratio < 1; got {n_images}, {minimum_ratio}")
    mei_px = np.asarray(mei_px, dtype=float)
    masks = np.ones_like(mei_px) if masks is None else np.asarray(masks, dtype=float)
    diverse = np.full((len(mei_px), n_images, *mei_px.shape[1:]), np.nan)
    ratio = np.full(diverse.shape[:2], np.nan)
    similarity, distance_px = np.full((2, len(mei_px)), np.nan)
    failed = _unusable(mei_px, masks)
    usable = np.flatnonzero(failed == "")
    for begin in range(0, len(usable), batch_units):
        units = usable[begin : begin + batch_units]
        noise = np.stack([_smooth_noise(scans[u], unit_ids[u], diverse.shape[1:], seed) for u in units])
        mei = scale.normalize(mei_px[units], questions.device)
        mask, grain = (torch.as_tensor(part, dtype=mei.dtype, device=mei.device) for part in (masks[units], noise))
        asked = questions[torch.as_tensor(units, device=questions.device)]
        images, reached, failed[units] = _spread(respond, asked, mei, mask, grain, scale.bounds, minimum_ratio, steps)
        kept = failed[units] == ""
        diverse[units] = scale.to_px(images)
        diverse[units[~kept]] = np.nan
        ratio[units[kept]] = reached[kept]
        report(f"{begin + len(units)} of {len(usable)} units: {kept.sum()} of these {len(units)} have diverse images")
    done = np.flatnonzero(failed == "")
    if len(done):
        pixels, weights = torch.as_tensor(diverse[done]), torch.as_tensor(masks[done])
        similarity[done] = -diversity(pixels, weights, "correlation").numpy()
        distance_px[done] = diversity(pixels, weights, "euclidean").numpy()
    return xr.Dataset(
        {
            "diverse": (("unit", "variant", "y", "x"), diverse),
            "ratio": (("unit", "variant"), ratio),
            "similarity": ("unit", similarity),
            "distance_px": ("unit", distance_px),
            "failed": ("unit", failed.astype(str)),
        }
    )


def _unusable(mei_px: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(unit,) why a unit cannot begin, or ""."""
    reasons = np.full(len(mei_px), "", dtype=object)
    reasons[np.nan_to_num(masks).clip(0).sum((1, 2)) == 0] = "the mask is empty"
    reasons[~np.isfinite(masks).all((1, 2))] = "the mask is not finite"
    reasons[mei_px.std((1, 2)) < FLAT_STD_PX] = "the MEI is flat"
    reasons[~np.isfinite(mei_px).all((1, 2))] = "the MEI is not finite"
    return reasons


def _smooth_noise(scan: str, unit_id: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Noise (variant, y, x) of norm 1 each, from the unit's own stream."""
    noise = np.random.default_rng([seed, zlib.crc32(scan.encode()), unit_id]).normal(size=shape)
    smooth = blur(torch.as_tensor(noise), BLUR_SIGMA_PX).numpy()
    return smooth / np.linalg.norm(smooth, axis=(1, 2), keepdims=True)


def _spread(
    respond: Respond,
    questions: torch.Tensor,
    mei: torch.Tensor,
    mask: torch.Tensor,
    noise: torch.Tensor,
    bounds: tuple[float, float],
    minimum_ratio: float,
    steps: int,
) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """The search of `diverse_images` in normalized gray levels, from the MEI and a little noise.

    A step goes along the blurred gradient of the distance, and along the blurred gradient of the response just as far
    as the linearized constraint asks; then each image gets back its mean, contrast and range.

    Returns:
        images (unit, variant, y, x), ratios (unit, variant), reasons of failure (unit,) or "".
    """
    asked = questions.repeat_interleave(noise.shape[1])
    mei, mask = mei[:, None], mask[:, None]
    norm = torch.linalg.vector_norm(mei - mei.mean((-2, -1), keepdim=True), dim=(-2, -1), keepdim=True)
    with torch.no_grad():
        wanted = respond(mei[:, 0], questions)[:, None]
    images = _match(mei + START_NOISE * norm * mask * noise, mei, bounds)
    best, best_ratio = images.clone(), torch.full(images.shape[:2], torch.nan, device=images.device)
    best_distance = torch.full((len(images),), -torch.inf, device=images.device)
    moves = torch.zeros_like(best_distance, dtype=torch.bool)
    for step in range(steps + 1):
        images = images.detach().requires_grad_(True)
        response = respond(images.flatten(0, 1), asked).view(images.shape[:2])
        (rise,) = torch.autograd.grad(response.sum(), images)
        distance = diversity(images, mask[:, 0])
        (apart,) = torch.autograd.grad(distance.sum(), images)
        images, ratio = images.detach(), response.detach() / wanted
        moves |= (rise != 0).any(-1).any(-1).any(-1)
        better = (ratio >= minimum_ratio + ROUNDING).all(1) & (distance.detach() > best_distance)
        best[better], best_ratio[better], best_distance[better] = (
            images[better],
            ratio[better],
            distance.detach()[better],
        )
        left = 1 - step / steps
        missing = (minimum_ratio + 2 * ROUNDING + MARGIN * left) * wanted - response.detach()
        length = SPREAD_STEP * left * norm * (ratio >= minimum_ratio)[..., None, None]  # below, only upwards
        images = images + _move(images, apart, rise, missing, mask, bounds, length, RESTORE_STEP * norm)
        images = _match(images, mei, bounds)
    reasons = np.full(len(images), "", dtype=object)
    reasons[(best_distance == -torch.inf).cpu().numpy()] = f"no set reached {minimum_ratio:g} of the MEI's response"
    reasons[~moves.cpu().numpy()] = "no gradient: the response does not depend on the image"
    reasons[~(wanted[:, 0] > 0).cpu().numpy()] = "the response to the MEI is not positive"
    return best, best_ratio.cpu().numpy(), reasons


def _move(
    images: torch.Tensor,
    apart: torch.Tensor,
    rise: torch.Tensor,
    missing: torch.Tensor,
    mask: torch.Tensor,
    bounds: tuple[float, float],
    length: torch.Tensor,
    longest: torch.Tensor,
) -> torch.Tensor:
    """spread + max(0, missing - <rise, spread>) / <rise, lift> * lift: apart, and up where the response asks for it.

    Args:
        apart, rise: gradients of the distance and of the response; missing: (unit, variant) response.
        length: of the spread, root mean square over the set; longest: that the lift may be. Both (unit, variant, 1, 1).
    """
    centered = images - images.mean((-2, -1), keepdim=True)
    centered = centered / torch.linalg.vector_norm(centered, dim=(-2, -1), keepdim=True)

    def along_constraints(direction: torch.Tensor) -> torch.Tensor:  # neither mean nor contrast change
        direction = direction - direction.mean((-2, -1), keepdim=True)
        return direction - (direction * centered).sum((-2, -1), keepdim=True) * centered

    def smooth(direction: torch.Tensor) -> torch.Tensor:
        direction = mask * blur(mask * along_constraints(direction), BLUR_SIGMA_PX)
        outward = ((images <= bounds[0]) & (direction < 0)) | ((images >= bounds[1]) & (direction > 0))
        return along_constraints(direction * ~outward)  # what the clip would take back is no way to go

    spread = smooth(apart)
    size = spread.square().sum((-2, -1), keepdim=True).mean(1, keepdim=True).sqrt()
    spread = length / (size + EPSILON) * spread
    lift = smooth(rise)
    slope = (rise * lift).sum((-2, -1), keepdim=True).clamp(min=0) + EPSILON
    lacking = (missing[..., None, None] - (rise * spread).sum((-2, -1), keepdim=True)).clamp(min=0)
    size = torch.linalg.vector_norm(lift, dim=(-2, -1), keepdim=True) + EPSILON
    return spread + torch.minimum(lacking / slope, longest / size) * lift


def _match(images: torch.Tensor, mei: torch.Tensor, bounds: tuple[float, float]) -> torch.Tensor:
    """Give images the mean and the contrast of the MEI, within the bounds."""
    mean, std = mei.mean((-2, -1), keepdim=True), mei.std((-2, -1), keepdim=True)
    for _ in range(MATCH_ROUNDS):
        deviation = images - images.mean((-2, -1), keepdim=True)
        images = (mean + deviation * (std / (deviation.std((-2, -1), keepdim=True) + EPSILON))).clamp(*bounds)
    return images
