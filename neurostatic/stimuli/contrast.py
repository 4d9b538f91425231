"""Mean and contrast of an image: in pixel values for comparisons, in cd/m2 for what the monitor shows."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import zoom as spline_zoom

from neurostatic.data.calibration import MonitorCalibration
from neurostatic.store import InputError

GAIN_STEP = 1.05
MIN_GAIN, MAX_GAIN = 0.001, 6000.0
FLAT_STD = 1e-8
# The published grid linspace(-30, 30, 1000), in our order of preference: nearest to 0, then positive.
OFFSETS = np.outer((np.arange(500) + 0.5) * 60 / 999, [1, -1]).ravel()


@dataclass(frozen=True)
class MatchedImage:
    """An image at a mean and contrast, its unmasked companion, and what was reached with which gain."""

    image: np.ndarray
    unmasked: np.ndarray
    mean: float
    contrast: float
    gain: float
    offset: float
    flat: bool


@dataclass(frozen=True)
class LuminanceMatched:
    """A stimulus: uint8 image (y, x), its pixels before rounding, mean and contrast after rounding."""

    image: np.ndarray
    pixels: np.ndarray
    mean_cd_m2: float
    contrast_cd_m2: float
    matched: MatchedImage


def set_contrast(
    image: np.ndarray, contrast_px: float, mean_px: float, low: float = 0.0, high: float = 255.0
) -> np.ndarray:
    """Scale an image around its mean to a contrast, move it to a mean, and clip without making up for it.

    out = clip((image - mean(image)) * contrast_px / std(image) + mean_px, low, high)

    Puts images under one constraint before their responses are compared.

    Args:
        image: (..., y, x) px; every image is scaled by its own mean and population standard deviation.

    Raises:
        ValueError: a flat image has no contrast to scale.

    Source: adjust_contrast with force=False.
    """
    image = np.asarray(image, dtype=float)
    deviation = image - image.mean(axis=(-2, -1), keepdims=True)
    std = image.std(axis=(-2, -1), keepdims=True)
    if not np.all(std > FLAT_STD):
        raise ValueError("set_contrast: a flat image (or one with NaN) has no contrast to scale")
    return np.clip(deviation * (contrast_px / std) + mean_px, low, high)


def match_stats(
    image: np.ndarray, mean: float, contrast: float, low: float, high: float, mask: np.ndarray | None = None
) -> MatchedImage:
    """Give an image a mean and a contrast (population std) that hold after clipping to low..high.

    I(gain, offset) = clip(gain * (image - m) * mask + mean + offset, low, high)
    m = sum(image * mask) / sum(mask)

    Gains grow (or shrink) in steps of 5 % from contrast/std(I(1, 0)) until the contrast is passed; the
    nearest is kept. For each gain the offset, of 1000 from -30 to 30, is the one that brings the mean
    nearest. Mean and contrast are those of the whole frame, background included. Units are those of the
    image.

    Differs from the published search: equally good offsets are decided by the smallest, then the positive one
    (there by rounding); a gain of exactly 1 ends the search (there it never ends); all offsets come from one
    sorted cumulative sum (there from 1000 copies of the image).

    Args:
        image: (y, x).
        mask: (y, x) weights, 1 everywhere by default.

    Returns:
        MatchedImage; `unmasked` has the same gain and offset without the mask. A flat image (std < 1e-8)
        comes back flat at `mean` with flat=True.

    Raises:
        ValueError: empty mask, non-finite image, mask of another shape, contrast <= 0, mean outside
            low..high.

    Source: adjust_img_stats.
    """
    image = np.asarray(image, dtype=float)
    mask = np.ones_like(image) if mask is None else np.asarray(mask, dtype=float)
    if mask.shape != image.shape:
        raise ValueError(f"match_stats: mask {mask.shape} and image {image.shape} differ in shape")
    if not np.isfinite(image).all() or not np.isfinite(mask).all():
        raise ValueError("match_stats: image and mask must be finite")
    if not (mask > 0).any():
        raise ValueError("match_stats: the mask is empty")
    if not (contrast > 0 and low <= mean <= high and low < high):
        raise ValueError(f"match_stats: impossible target {mean=}, {contrast=} within {low=}, {high=}")

    deviation = image - (image * mask).sum() / mask.sum()
    weighted = deviation * mask
    first_std = np.clip(weighted + mean, low, high).std()
    if first_std < FLAT_STD:
        unmasked = np.clip(deviation + mean, low, high)
        return MatchedImage(np.full_like(image, mean), unmasked, float(mean), 0.0, 1.0, 0.0, True)

    ranked = np.sort(weighted, axis=None)
    cumulative = np.concatenate([[0.0], np.cumsum(ranked)])
    gain = contrast / first_std
    direction = np.sign(np.log(gain))
    with np.errstate(divide="ignore"):
        saturating = max(high - mean, mean - low) / np.abs(deviation[mask > 0]).min()
    max_gain = min(saturating, MAX_GAIN)

    best = None
    while True:
        offset = _offset_nearest_mean(ranked, cumulative, gain, mean, low, high)
        candidate = np.clip(gain * weighted + mean + offset, low, high)
        std = candidate.std()
        if best is None or abs(std - contrast) < abs(best[1] - contrast):
            best = candidate, std, gain, offset
        if direction == 0 or (std - contrast) * direction > 0:
            break
        gain *= GAIN_STEP**direction
        if not MIN_GAIN <= gain <= max_gain:
            break

    matched, std, gain, offset = best
    unmasked = np.clip(gain * deviation + mean + offset, low, high)
    reached = matched.mean(), std, gain, offset
    return MatchedImage(matched, unmasked, *map(float, reached), flat=False)


def _offset_nearest_mean(
    ranked: np.ndarray, cumulative: np.ndarray, gain: float, mean: float, low: float, high: float
) -> float:
    """Offset that brings the clipped mean nearest to `mean`, from sorted deviations and their running sum."""
    level = mean + OFFSETS
    below = np.searchsorted(ranked, (low - level) / gain)  # this many pixels clip at low
    up_to = np.searchsorted(ranked, (high - level) / gain)  # the pixels after these clip at high
    inside = gain * (cumulative[up_to] - cumulative[below]) + level * (up_to - below)
    means = (low * below + inside + high * (ranked.size - up_to)) / ranked.size
    error = np.abs(means - mean)
    tied = error <= error.min() + 1e-9 * (high - low)  # rounding must not decide between equals
    return OFFSETS[np.argmax(tied)]


def upscale(image: np.ndarray, zoom: int) -> np.ndarray:
    """Enlarge an image (y, x) to (zoom*y, zoom*x) by cubic splines, corners aligned, borders reflected.

    May overshoot the range of the image.
    """
    return spline_zoom(np.asarray(image, dtype=float), zoom, order=3, mode="reflect")


def area_downscale(images: np.ndarray, zoom: int) -> np.ndarray:
    """Reduce images (..., y, x) to (..., y/zoom, x/zoom): each pixel the mean of its block (INTER_AREA)."""
    images = np.asarray(images, dtype=float)
    *batch, height, width = images.shape
    if height % zoom or width % zoom:
        raise ValueError(f"area_downscale: ({height}, {width}) is not a multiple of {zoom}")
    return images.reshape(*batch, height // zoom, zoom, width // zoom, zoom).mean(axis=(-3, -1))


def round_to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Nearest 8-bit pixel values, clipped to 0..255 (upstream truncated, which darkens by half a level)."""
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def luminance_chain(
    image_px: np.ndarray,
    calibration: MonitorCalibration,
    mean_cd_m2: float = 10.0,
    contrast_cd_m2: float = 2.0,
    zoom: int = 4,
    mask: np.ndarray | None = None,
) -> LuminanceMatched:
    """Turn a model image into a stimulus of given mean and contrast on the monitor.

    Enlarge (cubic), clip to 0..255, convert to luminance, match mean and contrast, convert back, round to
    uint8.

    Args:
        image_px: (y, x), 36 x 64 px.
        mean_cd_m2, contrast_cd_m2: target mean and population standard deviation over the frame.
        mask: (y, x) soft mask of the image's shape, enlarged like it; outside, the frame is at the mean.

    Raises:
        InputError: the monitor cannot show the mean, or the contrast is not positive.
        ValueError: as `match_stats`.

    Source: ProcessedShiftedMEI2, and ProcessedTightMaskedMEI with a mask.
    """
    darkest, brightest = calibration.darkest_cd_m2, calibration.brightest_cd_m2
    if not darkest < mean_cd_m2 < brightest:
        raise InputError(
            f"mean luminance {mean_cd_m2:g} cd/m2 cannot be shown: the monitor's calibration runs from "
            f"{darkest:g} to {brightest:g} cd/m2"
        )
    if not contrast_cd_m2 > 0:
        raise InputError(f"contrast {contrast_cd_m2:g} cd/m2 must be larger than 0")
    luminance = calibration.luminance(upscale(image_px, zoom))
    if mask is not None:
        mask = np.clip(upscale(mask, zoom), 0, 1)  # splines overshoot; a negative weight inverts the image
    matched = match_stats(luminance, mean_cd_m2, contrast_cd_m2, darkest, brightest, mask)
    pixels = calibration.pixel(matched.image)
    image = round_to_uint8(pixels)
    shown = calibration.luminance(image)
    return LuminanceMatched(image, pixels, float(shown.mean()), float(shown.std()), matched)
