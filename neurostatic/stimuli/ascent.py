"""The published gradient ascent on images: low-pass, step, norm, clip and blur, each image by itself."""

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from neurostatic.config import Meis

EPSILON = 1e-12
HISTORY_STEPS = 50  # responses are noted this often
REPORT_STEPS = 100

# Normalized images (image, y, x) and which question each asks (image,) -> responses (image,). A question is a unit of a
# model in a state of the mouse; only the function itself knows which.
Respond = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def ascend(
    respond: Respond,
    questions: torch.Tensor,
    images: torch.Tensor,
    bounds: tuple[float, float],
    image_std_px: float,
    config: Meis,
    jitter_px: np.ndarray | None = None,
    report: Callable[[str], None] = print,
) -> tuple[torch.Tensor, np.ndarray]:
    """The published ascent (deepdraw): x <- blur(clip(norm(x + step g / mean|g|))).

    g is the gradient low-passed by `precondition_gradient`; step and blur width go linearly from start to end. Upstream
    took mean|g| over the whole tensor, which holds one image there.

    Args:
        questions: (image, ...), as `respond` understands them.
        images: (image, y, x) normalized; bounds: of the normalized gray levels; image_std_px: one of their units.
        jitter_px: (step, image, 2) whole px by which the image is rolled along x and y for the step; not at all if
            None.

    Returns:
        images as given, after the last step; (step, image) responses before each 50th step.
    """
    history = []
    began_s = time.monotonic()
    for i in range(config.iterations):
        if jitter_px is not None:
            images = roll_each(images, jitter_px[i])
        images = images.detach().requires_grad_(True)
        shown = images
        if config.train_norm_px > 0:
            shown = limit_contrast(shown, config.train_norm_px / image_std_px)
        response = respond(shown, questions)
        (gradient,) = torch.autograd.grad(response.sum(), images)
        if i % HISTORY_STEPS == 0:
            history.append(response.detach().cpu().numpy())
        if (i + 1) % REPORT_STEPS == 0:
            left_s = (time.monotonic() - began_s) / (i + 1) * (config.iterations - i - 1)
            report(
                f"step {i + 1} of {config.iterations} (about {left_s:.0f} s left): "
                f"median response {response.detach().median().item():.3f}"
            )
        images = step_up(images.detach(), gradient, i / config.iterations, image_std_px, config)
        if jitter_px is not None:
            images = roll_each(images, -jitter_px[i])
        images = confine(images, i / config.iterations, bounds, config)
    return images.detach(), np.stack(history)


def step_up(
    images: torch.Tensor,
    gradient: torch.Tensor,
    done: float,
    image_std_px: float,
    config: Meis,
    together: bool = False,
) -> torch.Tensor:
    """Low-pass the gradient, make the step, and limit the contrast.

    x <- norm(x + step * step_gain / 255 * g / mean|g|)

    Args:
        images, gradient: (..., y, x) normalized.
        done: fraction of the iterations that are over, 0 at the first.
        together: mean|g| of all images, as for images that are optimized for one goal; else of each.
    """
    step = config.start_step + (config.end_step - config.start_step) * done
    gradient = precondition_gradient(gradient, config.precondition)
    scale = (gradient.abs().mean() if together else gradient.abs().mean((-2, -1), keepdim=True)) + EPSILON
    images = images + step * config.step_gain / 255 / scale * gradient
    return limit_contrast(images, config.norm_px / image_std_px) if config.norm_px > 0 else images


def confine(images: torch.Tensor, done: float, bounds: tuple[float, float], config: Meis) -> torch.Tensor:
    """Clip images (..., y, x) to the gray levels, then blur them by the width of this iteration."""
    if config.clip:
        images = images.clamp(*bounds)
    if config.blur:
        images = blur(images, config.start_sigma_px + (config.end_sigma_px - config.start_sigma_px) * done)
    return images


def limit_contrast(images: torch.Tensor, contrast: float) -> torch.Tensor:
    """Divide images (..., y, x) whose standard deviation (ddof 1) is above `contrast`, so that it equals it.

    The mean is not taken off before, so that it shrinks too; the division is differentiated through.
    """
    std = images.std((-2, -1), keepdim=True) + EPSILON
    return torch.where(std > contrast, images / std * contrast, images)


@lru_cache(maxsize=8)
def precondition_transfer(height: int, width: int, exponent: float) -> torch.Tensor:
    """(y, x // 2 + 1) gain at each spatial frequency, 1 / max(1, (fx^2 + fy^2)^exponent) over its mean.

    As published, negative frequencies are off by one; the columns that a half spectrum shares with its mirror image
    take the rows of the other half, as torch 1.1 computed it.
    """
    fx = torch.minimum(torch.arange(width), width - 1 - torch.arange(width)).double()
    fy = torch.minimum(torch.arange(height), height - 1 - torch.arange(height)).double()
    transfer = 1 / (fx**2 + fy[:, None] ** 2).pow(exponent).clamp(min=1)
    transfer = transfer / transfer.mean()
    half = transfer[:, : width // 2 + 1].clone()
    rows = torch.arange(1, (height + 1) // 2)
    for column in {0, width // 2} if width % 2 == 0 else {0}:
        half[height - rows, column] = half[rows, column]
    return half


def precondition_gradient(gradient: torch.Tensor, exponent: float) -> torch.Tensor:
    """Low-pass images (..., y, x) by about |frequency|^(-2 exponent); exponent 0 leaves them alone."""
    if exponent == 0:
        return gradient
    size = gradient.shape[-2:]
    transfer = precondition_transfer(*size, exponent).to(gradient)
    return torch.fft.irfft2(torch.fft.rfft2(gradient) * transfer, s=size)


def blur(images: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Gaussian blur (..., y, x), cut off at 4 sigma, borders mirrored; nothing happens below sigma 0.125 px."""
    if int(4 * sigma_px + 0.5) == 0:
        return images
    vertical, horizontal = (
        torch.from_numpy(gaussian_filter1d(np.eye(size), sigma_px, axis=0)).to(images) for size in images.shape[-2:]
    )
    return vertical @ images @ horizontal.T


def roll_each(images: torch.Tensor, shifts_px: np.ndarray) -> torch.Tensor:
    """Roll every image (image, y, x) round the borders by its own whole px (image, 2): +x right, +y down."""
    shifts = torch.as_tensor(shifts_px, device=images.device)
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) - shifts[:, 1:]) % height
    columns = (torch.arange(width, device=images.device) - shifts[:, :1]) % width
    which = torch.arange(len(images), device=images.device)[:, None, None]
    return images[which, rows[:, :, None], columns[:, None, :]]
