"""From a model's image to what the monitor shows: enlarged, at a mean and contrast in cd/m2, in 8 bits."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import zoom as spline_zoom

from neurostatic.data.calibration import MonitorCalibration
from neurostatic.problems import InputError
from neurostatic.stimuli.contrast import MatchedImage, match_stats


@dataclass(frozen=True)
class LuminanceMatched:
    """A stimulus: uint8 image (y, x), its pixels before rounding, mean and contrast after rounding."""

    image: np.ndarray
    pixels: np.ndarray
    mean_cd_m2: float
    contrast_cd_m2: float
    matched: MatchedImage


def upscale(image: np.ndarray, zoom: float) -> np.ndarray:
    """Enlarge an image (y, x) to (zoom*y, zoom*x) by cubic splines, corners aligned, borders reflected.

    May overshoot the range of the image.
    """
    return spline_zoom(np.asarray(image, dtype=float), zoom, order=3, mode="reflect")


def upscale_mask(mask: np.ndarray, zoom: float) -> np.ndarray:
    """Enlarge a soft mask like its image; splines overshoot, and a negative weight would invert the image."""
    return np.clip(upscale(mask, zoom), 0, 1)


def round_to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Nearest 8-bit pixel values, clipped to 0..255 (upstream truncated, which darkens by half a level)."""
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def luminance_chain(
    image_px: np.ndarray,
    calibration: MonitorCalibration,
    mean_cd_m2: float = 10.0,
    contrast_cd_m2: float = 2.0,
    zoom: float = 4,
    mask: np.ndarray | None = None,
) -> LuminanceMatched:
    """Turn a model image into a stimulus of given mean and contrast on the monitor.

    Enlarge (cubic), clip to 0..255, convert to luminance, and `match_luminance`.

    Args:
        image_px: (y, x), 36 x 64 px.
        mask: (y, x) soft mask of the image's shape, enlarged like it.

    Raises as `match_luminance`.

    Source: ProcessedShiftedMEI2, and ProcessedTightMaskedMEI with a mask.
    """
    luminance = calibration.luminance(upscale(image_px, zoom))
    mask = None if mask is None else upscale_mask(mask, zoom)
    return match_luminance(luminance, calibration, mean_cd_m2, contrast_cd_m2, mask)


def match_luminance(
    luminance: np.ndarray,
    calibration: MonitorCalibration,
    mean_cd_m2: float = 10.0,
    contrast_cd_m2: float = 2.0,
    mask: np.ndarray | None = None,
) -> LuminanceMatched:
    """Turn an image of the size to be shown into a stimulus of given mean and contrast on the monitor.

    Match mean and contrast, convert to pixel values, round to uint8.

    Args:
        luminance: (y, x) of the image, cd/m2.
        mean_cd_m2, contrast_cd_m2: target mean and population standard deviation over the frame.
        mask: (y, x) soft mask; outside, the frame is at the mean.

    Raises:
        InputError: the monitor cannot show the mean, or the contrast is not positive.
        ValueError: as `match_stats`.
    """
    low, high = showable_range(calibration, mean_cd_m2, contrast_cd_m2)
    matched = match_stats(luminance, mean_cd_m2, contrast_cd_m2, low, high, mask)
    pixels = calibration.pixel(matched.image)
    image = round_to_uint8(pixels)
    shown = calibration.luminance(image)
    return LuminanceMatched(image, pixels, float(shown.mean()), float(shown.std()), matched)


def showable_range(calibration: MonitorCalibration, mean_cd_m2: float, contrast_cd_m2: float) -> tuple[float, float]:
    """Darkest and brightest luminance of the monitor, cd/m2.

    Raises InputError: the monitor cannot show the mean, or the contrast is not positive.
    """
    darkest, brightest = calibration.darkest_cd_m2, calibration.brightest_cd_m2
    if not darkest < mean_cd_m2 < brightest:
        raise InputError(
            f"mean luminance {mean_cd_m2:g} cd/m2 cannot be shown: the monitor's calibration runs from "
            f"{darkest:g} to {brightest:g} cd/m2"
        )
    if not contrast_cd_m2 > 0:
        raise InputError(f"contrast {contrast_cd_m2:g} cd/m2 must be larger than 0")
    return darkest, brightest
