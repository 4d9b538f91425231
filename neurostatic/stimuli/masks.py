"""The part of an image that drives a cell: masks tightened until the response starts to fall."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from scipy.ndimage import binary_erosion, gaussian_filter
from skimage.morphology import convex_hull_image

SQUARE = np.ones((3, 3), dtype=bool)


def mask_image(image: np.ndarray, mask: np.ndarray, background: float | np.ndarray) -> np.ndarray:
    """Blend an image into a background: out = mask * image + (1 - mask) * background."""
    return mask * image + (1 - mask) * background


def erode(mask: np.ndarray) -> np.ndarray:
    """Take one pixel off the border of a boolean mask (3 x 3 square); the frame's border is no border."""
    return binary_erosion(mask, SQUARE, border_value=1)


def first_hull(mei: np.ndarray, deviation_factor: float = 1.0) -> np.ndarray:
    """Convex hull of the pixels that deviate most: a > deviation_factor * std(a), with a = abs(mei - mean(mei)).

    Args:
        mei: (y, x).

    Returns:
        (y, x) bool, False everywhere if none deviates so much, as of a flat image.
    """
    deviation = np.abs(mei - mei.mean())
    salient = deviation > deviation_factor * deviation.std()
    if np.ptp(mei) == 0 or not salient.any():
        return np.zeros(mei.shape, dtype=bool)
    return convex_hull_image(salient)


def tight_masks(
    meis: np.ndarray,
    respond_paired: Callable[[np.ndarray, np.ndarray], np.ndarray],
    deviation_factor: float = 1.0,
    blur_sigma_px: float = 1.0,
    target_ratio: float = 0.9,
    max_erosions: int = 100,
) -> xr.Dataset:
    """Tight masks of many MEIs, eroded in lock step; each unit stops at its own first response at the target.

    mask = gaussian(hull, blur_sigma_px);  masked = mask * mei + (1 - mask) * mean(mei)
    while response(masked) > target_ratio * response(first masked):  hull = erode(hull)

    The baseline is the response to the first masked image, not to the MEI. The last step usually overshoots,
    so the ratio reached lies somewhat below the target. Hulls differ by a few percent between scikit-image
    versions.

    Args:
        meis: (unit, y, x) px.
        respond_paired: images (k, y, x) px and positions (k,) on the unit axis of `meis` -> (k,) responses,
            image i by the unit at positions[i].
        deviation_factor: threshold of the hull in standard deviations of abs(mei - mean).
        blur_sigma_px: of the hull. target_ratio: of the baseline response. max_erosions: more than this is a failure.

    Returns:
        Dataset over (unit, y, x): tight_mask in 0..1, reduction_ratio (last response / baseline), erosions,
        failed (unit) the reason, or "". A unit that fails (flat MEI, baseline not positive, response that does
        not fall) has a NaN mask and ratio; the others are not touched.

    Raises ValueError: meis is not (unit, y, x), or the responses are not (k,).

    Source: TightMEIMask.
    """
    meis = np.asarray(meis, dtype=float)
    if meis.ndim != 3:
        raise ValueError(f"tight_masks: meis must be (unit, y, x), got {meis.shape}")
    n_units = len(meis)
    means = meis.mean(axis=(1, 2))
    hulls = np.zeros(meis.shape, dtype=bool)
    masks = np.full(meis.shape, np.nan)
    ratios = np.full(n_units, np.nan)
    baselines = np.full(n_units, np.nan)
    erosions = np.zeros(n_units, dtype=int)
    reasons = np.full(n_units, "", dtype=object)

    for unit, mei in enumerate(meis):
        if not np.isfinite(mei).all():
            reasons[unit] = "the MEI is not finite"
            continue
        hulls[unit] = first_hull(mei, deviation_factor)
        if not hulls[unit].any():
            reasons[unit] = f"no pixel of the MEI deviates by {deviation_factor:g} standard deviations"

    active = np.flatnonzero(reasons == "")
    while len(active):
        blurred = np.stack([gaussian_filter(hulls[unit].astype(float), blur_sigma_px) for unit in active])
        masked = mask_image(meis[active], blurred, means[active, None, None])
        responses = np.asarray(respond_paired(masked, active), dtype=float)
        if responses.shape != active.shape:
            raise ValueError(f"tight_masks: expected {active.shape} responses, got {responses.shape}")

        going_on = []
        for unit, mask, response in zip(active.tolist(), blurred, responses, strict=True):
            if erosions[unit] == 0:
                baselines[unit] = response
                if not (np.isfinite(response) and response > 0):
                    reasons[unit] = f"the response to the masked MEI, {response:.3g}, is not positive"
                    continue
            if not np.isfinite(response):
                reasons[unit] = f"the response is not finite after {erosions[unit]} erosions"
            elif response <= target_ratio * baselines[unit]:
                if hulls[unit].any():
                    masks[unit], ratios[unit] = mask, response / baselines[unit]
                else:
                    reasons[unit] = f"nothing is left of the mask after {erosions[unit]} erosions"
            elif erosions[unit] == max_erosions:
                reasons[unit] = f"the response stays above the target after {max_erosions} erosions"
            else:
                smaller = erode(hulls[unit])
                if np.array_equal(smaller, hulls[unit]):  # empty or full: every further image is the same
                    reasons[unit] = "the response stays above the target, with no border left to erode"
                else:
                    hulls[unit] = smaller
                    erosions[unit] += 1
                    going_on.append(unit)
        active = np.array(going_on, dtype=int)

    return xr.Dataset(
        {
            "tight_mask": (("unit", "y", "x"), masks),
            "reduction_ratio": ("unit", ratios),
            "erosions": ("unit", erosions),
            "failed": ("unit", reasons.astype(str)),
        }
    )
