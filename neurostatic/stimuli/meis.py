"""Most exciting images: gradient ascent on a unit's predicted response, all units in one batch."""

import time
import zlib
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from neurostatic.config import Meis

START_MEAN_PX, START_STD_PX = 128.0, 8.0
EPSILON = 1e-12

Respond = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # normalized (image, y, x), unit (image,) -> (image,)


def make_meis(
    respond: Respond,
    units: torch.Tensor,
    start_px: np.ndarray,
    image_mean_px: float,
    image_std_px: float,
    config: Meis,
    report: Callable[[str], None] = print,
) -> xr.Dataset:
    """MEI: the most exciting image of every unit, its activation and its contrast tuning.

    Args:
        respond: normalized images and one unit index an image -> the response of that unit to that image.
        units: (unit,) indices that `respond` understands.
        start_px: (unit, y, x) gray levels 0-255 to begin from.
        image_mean_px, image_std_px: z = (px - mean) / std.

    Returns:
        mei (unit, y, x) px; activation, monotonic, max_activation, max_contrast, sat_contrast, lim_contrast, img_mean
        (unit); tuning_contrast, tuning_response (unit, gain); history (step, unit): response before each 50th step;
        failed (unit): the reason, or "". A failed unit's numbers are NaN.
    """
    start = torch.as_tensor((start_px - image_mean_px) / image_std_px, dtype=torch.float32, device=units.device)
    bounds = (-image_mean_px / image_std_px, (255 - image_mean_px) / image_std_px)
    images, history = ascend(respond, units, start, bounds, image_std_px, config, report)
    mei = (images.double().cpu().numpy() * image_std_px + image_mean_px).clip(0, 255)  # rounding leaves 255.00001
    failed = np.where(np.isfinite(mei).all((1, 2)), "", "not finite")
    failed = np.where((failed == "") & (mei.std((1, 2)) < 0.01), "flat: the image has no contrast", failed)

    def respond_px(images_px: np.ndarray, positions: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            z = torch.as_tensor((images_px - image_mean_px) / image_std_px, dtype=torch.float32, device=units.device)
            return respond(z, units[torch.as_tensor(positions, device=units.device)]).cpu().numpy()

    activation = respond_px(np.nan_to_num(mei), np.arange(len(mei)))
    unmoved = (np.vstack([history, activation]) == history[0]).all(0)
    failed = np.where((failed == "") & unmoved, "no gradient: the response does not depend on the image", failed)
    usable = np.flatnonzero(failed == "")
    columns = ("activation", "max_activation", "max_contrast", "sat_contrast", "lim_contrast", "monotonic", "img_mean")
    scores = {name: np.full(len(mei), np.nan) for name in columns}
    tuning = np.full((2, len(mei), config.tuning_points), np.nan)
    if len(usable):
        scores["activation"][usable] = activation[usable]
        scores["img_mean"][usable] = mei[usable].mean((1, 2))
    for unit in usable:
        tuned = contrast_tuning(mei[unit], lambda px, unit=unit: respond_px(px, np.full(len(px), unit)), config)
        tuning[:, unit] = tuned.pop("contrast"), tuned.pop("response")
        for name, value in tuned.items():
            scores[name][unit] = value
    mei[failed != ""] = np.nan
    return xr.Dataset(
        {
            "mei": (("unit", "y", "x"), mei),
            **{name: ("unit", values) for name, values in scores.items()},
            "tuning_contrast": (("unit", "gain"), tuning[0]),
            "tuning_response": (("unit", "gain"), tuning[1]),
            "history": (("step", "unit"), history),
            "failed": ("unit", failed),
        }
    )


def start_images(scans: list[str], unit_ids: list[int], height: int, width: int, seed: int) -> np.ndarray:
    """(unit, y, x) noise of mean 128 px and std 8 px, each unit's from its own stream: any batch gives the same."""
    images = []
    for scan, unit_id in zip(scans, unit_ids, strict=True):
        rng = np.random.default_rng([seed, zlib.crc32(scan.encode()), unit_id])
        images.append(rng.normal(START_MEAN_PX, START_STD_PX, (height, width)).clip(0, 255))
    return np.stack(images)


def ascend(
    respond: Respond,
    units: torch.Tensor,
    images: torch.Tensor,
    bounds: tuple[float, float],
    image_std_px: float,
    config: Meis,
    report: Callable[[str], None] = print,
) -> tuple[torch.Tensor, np.ndarray]:
    """The published ascent, each image by itself: x <- blur(clip(norm(x + step g / mean|g|))).

    g is the gradient low-passed by `precondition_gradient`; step and blur width go linearly from start to end. Upstream
    took mean|g| over the whole tensor, which holds one image there.

    Args:
        images: (image, y, x) normalized; bounds: of the normalized gray levels.

    Returns:
        images as given, after the last step; (step, image) responses before each 50th step.
    """
    height, width = images.shape[-2:]
    transfer = precondition_transfer(height, width, config.precondition).to(images)
    history = []
    began_s = time.monotonic()
    for i in range(config.iterations):
        done = i / config.iterations
        step = config.start_step + (config.end_step - config.start_step) * done
        sigma_px = config.start_sigma_px + (config.end_sigma_px - config.start_sigma_px) * done
        images = images.detach().requires_grad_(True)
        shown = images
        if config.train_norm_px > 0:
            shown = limit_contrast(shown, config.train_norm_px / image_std_px)
        response = respond(shown, units)
        (gradient,) = torch.autograd.grad(response.sum(), images)
        images = images.detach()
        if i % 50 == 0:
            history.append(response.detach().cpu().numpy())
        if (i + 1) % 100 == 0:
            left_s = (time.monotonic() - began_s) / (i + 1) * (config.iterations - i - 1)
            report(
                f"step {i + 1} of {config.iterations} (about {left_s:.0f} s left): "
                f"median response {response.detach().median().item():.3f}"
            )
        if config.precondition > 0:
            gradient = precondition_gradient(gradient, transfer)
        scale = gradient.abs().mean((-2, -1), keepdim=True) + EPSILON
        images = images + step * config.step_gain / 255 / scale * gradient
        if config.norm_px > 0:
            images = limit_contrast(images, config.norm_px / image_std_px)
        images = images.clamp(*bounds)
        if config.blur:
            images = blur(images, sigma_px)
    return images.detach(), np.stack(history)


def limit_contrast(images: torch.Tensor, contrast: float) -> torch.Tensor:
    """Divide images (image, y, x) whose standard deviation (ddof 1) is above `contrast`, so that it equals it.

    The mean is not taken off before, so that it shrinks too; the division is differentiated through.
    """
    std = images.std((-2, -1), keepdim=True) + EPSILON
    return torch.where(std > contrast, images / std * contrast, images)


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
    rows = torch.arange(1, height // 2)
    for column in (0, width // 2):
        half[height - rows, column] = half[rows, column]
    return half


def precondition_gradient(gradient: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
    """Low-pass images (image, y, x) by a half-spectrum gain."""
    return torch.fft.irfft2(torch.fft.rfft2(gradient) * transfer, s=gradient.shape[-2:])


def blur(images: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Gaussian blur (image, y, x), cut off at 4 sigma, borders mirrored; nothing happens below sigma 0.125 px."""
    if int(4 * sigma_px + 0.5) == 0:
        return images
    vertical, horizontal = (
        torch.from_numpy(gaussian_filter1d(np.eye(size), sigma_px, axis=0)).to(images) for size in images.shape[-2:]
    )
    return vertical @ images @ horizontal.T


def contrast_tuning(image_px: np.ndarray, respond_px: Callable, config: Meis, batch_size: int = 250) -> dict:
    """Response to an image at every contrast from nearly none to the most that needs no clipping.

    gain = 0.01 / std .. min((255 - mean) / max d, mean / -min d), d = image - mean; each image clipped to 0-255.

    Returns:
        contrast and response (gain,); monotonic, max_activation, max_contrast (at the first maximum), sat_contrast
        (the largest), lim_contrast = 255 / (max d - min d) * std.
    """
    mean = image_px.mean()
    deviation = image_px - mean
    base = image_px.std()
    largest = min((255 - mean) / deviation.max(), -mean / deviation.min())
    gains = np.linspace(0.01 / base, largest, config.tuning_points)
    contrast, response = [], []
    for part in np.array_split(gains, -(-len(gains) // batch_size)):
        images = (deviation * part[:, None, None] + mean).clip(0, 255)
        contrast.append(images.std((1, 2)))
        response.append(respond_px(images))
    contrast, response = np.concatenate(contrast), np.concatenate(response)
    return {
        "contrast": contrast,
        "response": response,
        "monotonic": bool((np.diff(response) >= 0).all()),
        "max_activation": response.max(),
        "max_contrast": contrast[response.argmax()],
        "sat_contrast": contrast.max(),
        "lim_contrast": 255 / (deviation.max() - deviation.min()) * base,
    }
