"""Most exciting images: gradient ascent on a unit's predicted response, all units in one batch."""

import zlib
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr

from neurostatic.config import Meis
from neurostatic.stimuli.ascent import Respond, ascend

START_MEAN_PX, START_STD_PX = 128.0, 8.0


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
    images, history = ascend(respond, units, start, bounds, image_std_px, config, report=report)
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
