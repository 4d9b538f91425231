"""The second optimizer: most exciting images at a stated contrast and pixel range, in tens of evaluations."""

import dataclasses
from collections.abc import Callable

import torch
import xarray as xr

from neurostatic.config import Meis
from neurostatic.stimuli.ascent import Respond, precondition_gradient

# Chosen on three trained networks; a fourth, of other parts, and a linear one had no part in the choice.
START_CONTRAST = 0.05  # of the limit: the first gradient is then the unit's own, and noise does not choose the optimum
PATTERN_STEP = 0.5  # of the limit: standard deviation of the first step; momentum doubles the later ones
MEAN_STEP_PX = 5.0  # likewise
MEAN_WAITS = 4  # steps of the pattern before those of the mean: in a half-made pattern it can run to the wrong end
SHRINKAGE = 0.7  # of an image's steps after an evaluation without a gain
MOMENTUM = 0.5
WINDOW = 8  # steps over which the gain is judged; without gain they shrink to 0.06 of what they were
BALANCED = 1e-3  # |mean| / rms of a gradient far above which the mean gray level takes whole steps
ON_LIMIT = 1 - 1e-5  # of the limit: a pattern is on it, whatever the rounding
REPORT_EVALUATIONS = 20
TINY = 1e-20


@dataclasses.dataclass(frozen=True)
class Climbers:
    """The images that still climb: x = clip(mean + pattern), the pattern without mean and within the contrast limit.

    Attributes:
        mean, mean_momentum, size: (image, 1, 1). mean is normalized; size is the fraction left of the first step.
        pattern, momentum: (image, y, x). pattern is normalized; both momenta are in units of a whole step.
    """

    mean: torch.Tensor
    pattern: torch.Tensor
    mean_momentum: torch.Tensor
    momentum: torch.Tensor
    size: torch.Tensor

    def __getitem__(self, which: torch.Tensor) -> "Climbers":
        return Climbers(*(getattr(self, field.name)[which] for field in dataclasses.fields(self)))


def ascend_projected(
    respond: Respond,
    questions: torch.Tensor,
    images: torch.Tensor,
    bounds: tuple[float, float],
    image_std_px: float,
    config: Meis,
    report: Callable[[str], None] = print,
) -> tuple[torch.Tensor, xr.Dataset]:
    """Find every image's highest response at a standard deviation (ddof 1, about its own mean) and in the gray levels.

    max respond(x)  with  std(x) <= contrast_px / image_std_px  and  bounds[0] <= x <= bounds[1]

    Projected ascent by normalized gradients (`climb`), each image by itself. It stops when its gain over the last
    WINDOW steps is below tolerance a step, relative to its response; when it has no finite gradient, or none at all;
    or after max_evaluations. An image that stopped costs nothing more. Several starts are several images.

    Args:
        questions: (image, ...), as `respond` understands them.
        images: (image, y, x) normalized, to begin from, at START_CONTRAST; bounds: of the normalized gray levels.
        config: contrast_px, max_evaluations, tolerance and precondition count.

    Returns:
        The best iterate of each image, (image, y, x); an image without a gradient at its start is as given.
        response (evaluation, image): NaN after the stop; activation (image): of the best iterate, NaN if it is as
        given; evaluations (image): of the model, each a response with its gradient; converged (image): stopped for its
        gain; contrast_px (image): standard deviation (ddof 1) of the image returned.
    """
    device, count = images.device, len(images)
    images = images.detach().clone()
    responses = torch.full((config.max_evaluations, count), torch.nan, device=device)
    best = torch.full((count,), -torch.inf, device=device)
    evaluations = torch.zeros(count, dtype=torch.int64, device=device)
    converged = torch.zeros(count, dtype=torch.bool, device=device)
    active = torch.arange(count, device=device)
    limit, mean_step = config.contrast_px / image_std_px, MEAN_STEP_PX / image_std_px
    climbers = begin(images, limit)
    for i in range(config.max_evaluations):
        shown, response, gradient = evaluate(respond, questions[active], climbers, bounds)
        responses[i, active] = response
        evaluations[active] += 1
        lost = ~(response.isfinite() & gradient.isfinite().all(-1).all(-1) & (gradient != 0).any(-1).any(-1))
        gained = response.isfinite() & (response > best[active]) & ~(lost & (i == 0))
        best[active[gained]] = response[gained]
        images[active[gained]] = shown[gained]
        stalled = ~lost & has_stalled(responses[: i + 1, active], config.tolerance)
        converged[active] = stalled
        going = ~(lost | stalled)
        active, climbers, gradient, gained = active[going], climbers[going], gradient[going], gained[going]
        if (i + 1) % REPORT_EVALUATIONS == 0:
            report(f"evaluation {i + 1} of at most {config.max_evaluations}: {len(active)} of {count} images climb")
        if not len(active):
            break
        moves = mean_step if i >= MEAN_WAITS else 0.0
        climbers = climb(climbers, gradient, gained, limit, moves, bounds, config.precondition)
    history = {
        "response": (("evaluation", "image"), responses.cpu().numpy()),
        "activation": ("image", torch.where(best.isfinite(), best, torch.nan).cpu().numpy()),
        "evaluations": ("image", evaluations.cpu().numpy()),
        "converged": ("image", converged.cpu().numpy()),
        "contrast_px": ("image", images.double().std((-2, -1)).cpu().numpy() * image_std_px),
    }
    return images, xr.Dataset(history)


def begin(images: torch.Tensor, limit: float) -> Climbers:
    """Images (image, y, x) at START_CONTRAST of the limit (or their own contrast, if that is less), at rest."""
    mean = images.mean((-2, -1), keepdim=True)
    pattern = within(images - mean, START_CONTRAST * limit)
    return Climbers(mean, pattern, torch.zeros_like(mean), torch.zeros_like(pattern), torch.ones_like(mean))


def evaluate(
    respond: Respond, questions: torch.Tensor, climbers: Climbers, bounds: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images shown (image, y, x), responses (image,), and the gradients (image, y, x) of mean + pattern.

    They are zero where a gray level is cut off. Without that, contrast is spent on what nobody sees.
    """
    levels = (climbers.mean + climbers.pattern).requires_grad_(True)
    shown = levels.clamp(*bounds)
    response = respond(shown, questions)
    (gradient,) = torch.autograd.grad(response.sum(), levels)
    return shown.detach(), response.detach(), gradient * ((levels > bounds[0]) & (levels < bounds[1]))


def has_stalled(responses: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Whether the best of the responses (evaluation, image) grew by less than tolerance a step, over WINDOW steps.

    (best now - best WINDOW steps ago) / WINDOW < tolerance |best now|
    """
    if len(responses) <= WINDOW:
        return torch.zeros(responses.shape[1], dtype=torch.bool, device=responses.device)
    now, earlier = responses.amax(0), responses[:-WINDOW].amax(0)
    return now - earlier < WINDOW * tolerance * now.abs()


def climb(
    climbers: Climbers,
    gradient: torch.Tensor,
    gained: torch.Tensor,
    limit: float,
    mean_step: float,
    bounds: tuple[float, float],
    precondition: float,
) -> Climbers:
    """Make one step of the mean and one of the pattern, and project both on what is allowed.

    size <- size, or SHRINKAGE size without a gain;     momentum <- MOMENTUM momentum + direction of the gradient
    mean <- clip(mean + size mean_step momentum);       pattern <- limit(pattern + size PATTERN_STEP limit momentum)

    The pattern's direction has standard deviation 1. What would lead out of the limit is taken off before that: near
    the optimum it is nearly all of the gradient, and only the rest moves the pattern. The mean has steps of its own,
    of the sign of its gradient: beside the pattern's its gradient is small, and the mean was the last to converge.
    The low-pass of `precondition_gradient` fades with the size: kept, it lowers the optimum that can be reached.

    Args:
        gradient: (image, y, x); gained: (image,), whether its last evaluation is the image's best.
        limit: of the standard deviation, normalized; mean_step: normalized; precondition: exponent of the low-pass.
    """
    size = torch.where(gained[:, None, None], climbers.size, SHRINKAGE * climbers.size)
    slope = gradient.mean((-2, -1), keepdim=True)
    rms = gradient.square().mean((-2, -1), keepdim=True).sqrt()
    mean_momentum = MOMENTUM * climbers.mean_momentum + slope / (slope.abs() + BALANCED * rms + TINY)
    smooth = gradient + size * (precondition_gradient(gradient, precondition) - gradient)
    direction = inward(smooth - smooth.mean((-2, -1), keepdim=True), climbers.pattern, limit)
    direction = direction / (direction.std((-2, -1), keepdim=True) + TINY)
    momentum = inward(MOMENTUM * climbers.momentum + direction, climbers.pattern, limit)
    mean = (climbers.mean + size * mean_step * mean_momentum).clamp(*bounds)
    pattern = within(climbers.pattern + size * PATTERN_STEP * limit * momentum, limit)
    return Climbers(mean, pattern, mean_momentum, momentum, size)


def inward(direction: torch.Tensor, pattern: torch.Tensor, limit: float) -> torch.Tensor:
    """Directions (image, y, x) without what leads out of the limit, where a pattern (image, y, x) is on it.

    direction - max(<direction, pattern>, 0) / <pattern, pattern> pattern
    """
    power = pattern.square().sum((-2, -1), keepdim=True)
    outward = (direction * pattern).sum((-2, -1), keepdim=True).clamp(min=0) / (power + TINY)
    on_limit = pattern.std((-2, -1), keepdim=True) >= ON_LIMIT * limit
    return torch.where(on_limit, direction - outward * pattern, direction)


def within(pattern: torch.Tensor, limit: float) -> torch.Tensor:
    """Patterns (image, y, x), without their mean, at most at the limit of the standard deviation (ddof 1)."""
    pattern = pattern - pattern.mean((-2, -1), keepdim=True)
    return pattern * (limit / (pattern.std((-2, -1), keepdim=True) + TINY)).clamp(max=1)
