"""Experiments on the model: every unit's image shown to every unit, and shifted images, at one contrast in px."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from neurostatic.stimuli.contrast import FLAT_STD

CONTRAST_PX, MEAN_PX = 16.0, 111.0  # ImageConfig 0


def adjust_contrast(
    image: np.ndarray,
    contrast: float | None = None,
    mean: float | None = None,
    low: float = 0.0,
    high: float = 255.0,
    force: bool = True,
    steps: int = 5000,
) -> tuple[np.ndarray, bool, float]:
    """Give an image a contrast (population std) and a mean that, with `force`, hold after clipping to low..high.

    out = clip(clip((image - mean(image)) * gain + mean, low, high) + offset, low, high)

    With force=False, or if nothing is clipped, gain = contrast / std(image) and offset = 0. Else gains grow in `steps`
    equal ratios to the one at which nearly every pixel is black or white, until the contrast is passed, and the
    nearest is kept, the first of equals; for each, the offset out of `steps` from 0 to high - low is the one that
    makes up for the mean that clipping moved, the smallest of equals.

    Differs from the published search: pixels are sorted once and their running sum gives the mean of a clipped
    shift, which is piecewise linear in the shift, in one pass (there from `steps` copies of the image for each gain).
    If a mean alone clips, its contrast is kept; there it was left where the first offset put it.

    Args:
        image: (y, x).
        contrast, mean: the image's own if None.

    Returns:
        image (y, x), whether a pixel had to be clipped, contrast reached.

    Raises:
        ValueError: flat or non-finite image; contrast not positive, mean outside low..high.

    Source: adjust_contrast.
    """
    image = np.asarray(image, dtype=float)
    std = image.std()
    if not std > FLAT_STD:
        raise ValueError("adjust_contrast: a flat image (or one with NaN) has no contrast to scale")
    deviation = image - image.mean()
    contrast = std if contrast is None else contrast
    mean = image.mean() if mean is None else mean
    if not (contrast > 0 and low < mean < high and steps > 1):
        raise ValueError(f"adjust_contrast: impossible target {mean=}, {contrast=} within {low=}, {high=}, {steps=}")

    gain, offset = contrast / std, 0.0
    clipped = bool(gain > min((high - mean) / deviation.max(), (low - mean) / deviation.min()))
    if clipped and force:
        gain, offset = _search_gain(deviation, contrast, mean, low, high, steps)
    adjusted = np.clip(np.clip(deviation * gain + mean, low, high) + offset, low, high)
    return adjusted, clipped, float(adjusted.std())


def insilico_confusion(
    images_px: np.ndarray,
    unit_ids: Sequence[int],
    respond_all: Callable[[np.ndarray], np.ndarray],
    contrast_px: float = CONTRAST_PX,
    mean_px: float = MEAN_PX,
) -> xr.DataArray:
    """Response of every unit's model to every unit's image, all images at one mean and contrast.

    confusion[i, j] = respond_j(adjust_contrast(image_i))

    Args:
        images_px: (unit, y, x) gray levels; linear receptive fields through the CNN's `respond_all` are the same.
        unit_ids: (unit,) ids, in this order in both dimensions.
        respond_all: images (k, y, x) px -> (k, unit) responses of the units of `unit_ids`.
        contrast_px, mean_px: as in `adjust_contrast`.

    Returns:
        (image_unit_id, matched_unit_id): rows are images, columns are units, as in the closed loop. Coordinates
        contrast_px (image_unit_id) reached. An image that is not finite gives a NaN row.

    Raises:
        ValueError: a flat image; responses of another shape.

    Source: MEIConfusion.
    """
    images_px = np.asarray(images_px, dtype=float)
    n_units = len(unit_ids)
    if len(images_px) != n_units:
        raise ValueError(f"insilico_confusion: {len(images_px)} images for {n_units} units")
    usable = _finite(images_px)
    shown, reached = _adjust_each(images_px[usable], contrast_px, mean_px)
    responses = np.full((n_units, n_units), np.nan)
    contrasts = np.full(n_units, np.nan)
    if len(usable):
        given = np.asarray(respond_all(shown))
        if given.shape != (len(usable), n_units):
            raise ValueError(f"insilico_confusion: expected {(len(usable), n_units)} responses, got {given.shape}")
        responses[usable], contrasts[usable] = given, reached
    return xr.DataArray(
        responses,
        dims=("image_unit_id", "matched_unit_id"),
        coords={
            "image_unit_id": list(unit_ids),
            "matched_unit_id": list(unit_ids),
            "contrast_px": ("image_unit_id", contrasts),
        },
    )


def shift_responses(
    images_px: np.ndarray,
    respond_paired: Callable[[np.ndarray, np.ndarray], np.ndarray],
    shifts_px: Sequence[int] = range(-5, 6),
    contrast_px: float = CONTRAST_PX,
    mean_px: float = MEAN_PX,
) -> xr.DataArray:
    """Response of each unit to its own image, shifted round the borders in both directions.

    response[u, dy, dx] = respond_u(roll(adjust_contrast(image_u), dy down, dx right))

    Args:
        images_px: (unit, y, x) gray levels.
        respond_paired: images (k, y, x) px and positions (k,) on the unit axis -> (k,) responses.
        shifts_px: whole px, the same for y and x.
        contrast_px, mean_px: as in `adjust_contrast`.

    Returns:
        (unit, y_shift, x_shift), +y down, +x right, the shifts in px as coordinates; NaN for an image that is not
        finite.

    Raises:
        ValueError: a flat image.

    Source: JitterInPlace, RFJitterInPlace, CrossJitterInPlace (-5..5); ShiftedMEI, ShiftedRF,
    CrossShiftedMEIActivation (-1..1).
    """
    images_px = np.asarray(images_px, dtype=float)
    shifts = list(shifts_px)
    responses = np.full((len(images_px), len(shifts), len(shifts)), np.nan)
    usable = _finite(images_px)
    shown, _ = _adjust_each(images_px[usable], contrast_px, mean_px)
    for unit, image in zip(usable, shown, strict=True):
        shifted = np.stack([np.roll(image, (down, right), (0, 1)) for down in shifts for right in shifts])
        answered = respond_paired(shifted, np.full(len(shifted), unit))
        responses[unit] = np.reshape(answered, (len(shifts), len(shifts)))
    coords = {"y_shift": shifts, "x_shift": shifts}
    return xr.DataArray(responses, dims=("unit", "y_shift", "x_shift"), coords=coords)


def _finite(images: np.ndarray) -> np.ndarray:
    """Positions of the images (image, y, x) that are finite."""
    return np.flatnonzero(np.isfinite(images).all((1, 2)))


def _adjust_each(images: np.ndarray, contrast: float, mean: float) -> tuple[np.ndarray, np.ndarray]:
    adjusted, contrasts = np.empty_like(images), np.empty(len(images))
    for i, image in enumerate(images):
        adjusted[i], _, contrasts[i] = adjust_contrast(image, contrast, mean)
    return adjusted, contrasts


def _search_gain(
    deviation: np.ndarray, contrast: float, mean: float, low: float, high: float, steps: int
) -> tuple[float, float]:
    """Gain and offset whose clipped image is nearest to the contrast, of those up to the first above it."""
    ascending = np.sort(deviation, axis=None)
    saturating = max(
        (high - mean) / ascending[ascending > 0].min(),
        (mean - low) / -ascending[ascending < 0].max(),
    )
    gains = np.geomspace(contrast / deviation.std(), saturating, steps)
    best = np.inf, gains[0], 0.0
    for gain in gains:
        pixels = np.clip(ascending * gain + mean, low, high)
        excess = pixels.mean() - mean
        room = high - pixels[::-1] if excess < 0 else pixels - low
        offset = -np.sign(excess) * _smallest_shift(room, abs(excess), high - low, steps)
        std = np.clip(pixels + offset, low, high).std()
        if abs(std - contrast) < best[0]:
            best = abs(std - contrast), gain, offset
        if std > contrast:
            break
    return float(best[1]), float(best[2])


def _smallest_shift(room: np.ndarray, wanted: float, largest: float, steps: int) -> float:
    """v on a grid of `steps` from 0 to `largest` whose mean(min(room, v)) is nearest to `wanted`; room ascending."""
    # mean(min(room, v)) rises with v and is linear between the values of room.
    means = (room.cumsum() + room * np.arange(len(room) - 1, -1, -1)) / len(room)
    exact = np.interp(wanted, np.concatenate([[0.0], means]), np.concatenate([[0.0], room]))
    grid = largest / (steps - 1)
    below = np.floor(exact / grid) * grid
    neighbors = np.array([below, below + grid])
    errors = np.abs(np.minimum(room, neighbors[:, None]).mean(1) - wanted)
    return neighbors[errors.argmin()]
