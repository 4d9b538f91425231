"""Where an image differs from its mean: hulls of its large lobes, and Gaussian envelopes."""

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter, label
from skimage.morphology import convex_hull_image

AXES = ["x", "y"]
NARROWEST_VARIANCE_PX2 = 1e-9  # an envelope narrower than this has no inverse covariance


def without_small_components(mask: np.ndarray, min_size_px: int) -> np.ndarray:
    """Keep the components of a boolean mask (y, x) that have at least `min_size_px` pixels.

    Pixels that touch at a corner only are not connected.

    Source: remove_small_area.
    """
    components, _ = label(mask)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # what is outside of the mask is no component
    return sizes[components] >= max(min_size_px, 1)


def hull_mask(
    mei: np.ndarray,
    min_deviation_px: float = 16.0,
    min_size_px: int = 50,
    expansion_sigma_px: float = 3.0,
    expansion_threshold: float = 0.3,
    blur_sigma_px: float = 2.0,
) -> np.ndarray:
    """Soft mask around the large lobes of one image.

    mask = gaussian(gaussian(hull(large), expansion_sigma) > expansion_threshold, blur_sigma)
    large = components of |mei - mean(mei)| > min_deviation with at least min_size pixels

    Hulls differ by a few percent between scikit-image versions.

    Args:
        mei: (y, x) px.
        min_deviation_px: in gray levels, whatever the contrast of the image.
        min_size_px: in pixels of the image. expansion_sigma_px, blur_sigma_px: likewise.

    Returns:
        (y, x) in 0..1; 0 everywhere if no lobe is large enough.

    Source: MEIMask, MaskParameter.
    """
    large = without_small_components(np.abs(mei - mei.mean()) > min_deviation_px, min_size_px)
    if not large.any():  # scikit-image warns of an empty hull
        return np.zeros(mei.shape)
    hull = convex_hull_image(large).astype(float)
    expanded = gaussian_filter(hull, expansion_sigma_px) > expansion_threshold
    return gaussian_filter(expanded.astype(float), blur_sigma_px)


def hull_masks(
    meis: np.ndarray,
    min_deviation_px: float = 16.0,
    min_size_px: int = 50,
    expansion_sigma_px: float = 3.0,
    expansion_threshold: float = 0.3,
    blur_sigma_px: float = 2.0,
) -> xr.Dataset:
    """Soft masks around the large lobes of many images, each as of `hull_mask`.

    Args:
        meis: (unit, y, x) px; the other arguments are those of `hull_mask`.

    Returns:
        Dataset over (unit, y, x): mask in 0..1, failed (unit) the reason, or "". A unit that fails (flat or
        non-finite image) has a NaN mask. One without a large lobe does not fail: its mask is 0 everywhere.

    Raises:
        ValueError: `meis` is not (unit, y, x).

    Source: MEIMask.
    """
    meis, failed = _checked("hull_masks", meis)
    options = min_deviation_px, min_size_px, expansion_sigma_px, expansion_threshold, blur_sigma_px
    masks = np.full(meis.shape, np.nan)
    for unit in np.flatnonzero(failed == ""):
        masks[unit] = hull_mask(meis[unit], *options)
    return xr.Dataset({"mask": (("unit", "y", "x"), masks), "failed": ("unit", failed.astype(str))})


def gaussian_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Center and covariance of where images deviate from their means.

    p = (image - mean(image))^2 / sum;  mu = sum p r;  cov = sum p (r - mu) (r - mu)^T;  r = (x, y)

    Args:
        images: (..., y, x), not flat.

    Returns:
        mu (..., 2) px, x first; cov (..., 2, 2) px^2.
    """
    density = (images - images.mean((-2, -1), keepdims=True)) ** 2
    density /= density.sum((-2, -1), keepdims=True)
    places = _places(*images.shape[-2:])
    mu = np.einsum("...yx,yxi->...i", density, places)
    from_center = places - mu[..., None, None, :]
    return mu, np.einsum("...yx,...yxi,...yxj->...ij", density, from_center, from_center)


def gaussian_envelope(mu: np.ndarray, cov: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """Square root of a Gaussian with peak 1.

    envelope = exp(-(r - mu)^T cov^-1 (r - mu) / 4)

    Args:
        mu: (..., 2) px, x first. cov: (..., 2, 2) px^2.

    Returns:
        (..., height_px, width_px).

    Source: GaussianMaskFit.
    """
    from_center = _places(height_px, width_px) - mu[..., None, None, :]
    return np.exp(-np.einsum("...yxi,...ij,...yxj->...yx", from_center, np.linalg.inv(cov), from_center) / 4)


def gaussian_masks(meis: np.ndarray, power: float = 1.875) -> xr.Dataset:
    """Gaussian masks of many images: the envelope of each, narrowed by a power.

    mask = envelope^power, with the center and covariance of (mei - mean)^2

    Args:
        meis: (unit, y, x) px.
        power: larger is narrower; 2 is the Gaussian itself.

    Returns:
        Dataset over (unit, y, x): mask in 0..1; mu_x, mu_y (unit) px; cov (unit, axis, axis2) px^2, axes x and y;
        failed (unit) the reason, or "". A unit that fails (flat or non-finite image, or one that deviates along a
        line only) has NaN; the others are not touched.

    Raises:
        ValueError: `meis` is not (unit, y, x), or power is not positive.

    Source: GaussianMask, GaussianMaskFit, GaussianFactor.
    """
    if not power > 0:
        raise ValueError(f"gaussian_masks: power must be larger than 0, got {power}")
    meis, failed = _checked("gaussian_masks", meis)
    n_units, *size = meis.shape
    masks, mu, cov = np.full(meis.shape, np.nan), np.full((n_units, 2), np.nan), np.full((n_units, 2, 2), np.nan)
    for unit in np.flatnonzero(failed == ""):
        center, spread = gaussian_moments(meis[unit])
        if np.linalg.eigvalsh(spread)[0] < NARROWEST_VARIANCE_PX2:
            failed[unit] = "the image deviates from its mean along a line only"
            continue
        mu[unit], cov[unit] = center, spread
        masks[unit] = gaussian_envelope(center, spread, *size) ** power
    return xr.Dataset(
        {
            "mask": (("unit", "y", "x"), masks),
            "mu_x": ("unit", mu[:, 0]),
            "mu_y": ("unit", mu[:, 1]),
            "cov": (("unit", "axis", "axis2"), cov),
            "failed": ("unit", failed.astype(str)),
        },
        coords={"axis": AXES, "axis2": AXES},
    )


def _places(height_px: int, width_px: int) -> np.ndarray:
    """(y, x, 2) x and y of every pixel, from 0."""
    y, x = np.mgrid[:height_px, :width_px]
    return np.stack([x, y], axis=-1).astype(float)


def _checked(caller: str, meis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images as float (unit, y, x), and why those fail that have no structure to find (unit,), or ""."""
    meis = np.asarray(meis, dtype=float)
    if meis.ndim != 3:
        raise ValueError(f"{caller}: meis must be (unit, y, x), got {meis.shape}")
    failed = np.full(len(meis), "", dtype=object)
    for unit, mei in enumerate(meis):
        if not np.isfinite(mei).all():
            failed[unit] = "the image is not finite"
        elif np.ptp(mei) == 0:
            failed[unit] = "the image is flat"
    return meis, failed
