"""Images at the resolution of the models, and behind the aperture they were shown through (Frame)."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from neurostatic.problems import InputError
from neurostatic.store import BLOCK_BYTES


def area_resize(
    images: np.ndarray, height: int, width: int, rows: Sequence[int] | np.ndarray | None = None, rounded: bool = True
) -> np.ndarray:
    """Shrink images by exact area averaging, as OpenCV's INTER_AREA (Frame).

    out = W_y image W_x^T, W[i, j] = overlap([i s, (i + 1) s], [j, j + 1]) / s, s = n_in / n_out, for each channel.
    Images of bytes are rounded to whole gray levels: half to even, but half up where the size is halved exactly in y
    and x. Upstream resized in the dtype of the source, and the models were trained on such images. One difference:
    halved images of exactly two channels are rounded half to even by OpenCV, here as those of any other number.
    Memory-mapped images are read block by block.

    Args:
        images: (image, y, x) or (image, y, x, channel).
        rows: positions of the images to resize, in the order wanted; None means all.
        rounded: False keeps the exact means of bytes too.

    Returns:
        (row, height, width) or (row, channel, height, width) float32.

    Raises InputError if the images are smaller than asked for, or have another number of dimensions.
    """
    if images.ndim not in (3, 4):
        raise InputError(f"images have shape {images.shape}, allowed are (image, y, x) and (image, y, x, channel)")
    n_y, n_x, *channels = images.shape[1:]
    if n_y < height or n_x < width:
        raise InputError(f"images of {n_y} x {n_x} px cannot be reduced to {height} x {width} px")
    positions = _positions(images, rows)
    resized = np.empty((len(positions), *channels, height, width), np.float32)
    if channels:
        pairs = [(images[..., channel], resized[:, channel]) for channel in range(channels[0])]
    else:
        pairs = [(images, resized)]
    y_overlap, x_overlap = _overlaps(n_y, height), _overlaps(n_x, width)
    to_levels = _half_up if (n_y, n_x) == (2 * height, 2 * width) else np.rint
    for block in _blocks(len(positions), n_y * n_x):
        for source, target in pairs:
            # Overlaps are whole numbers and the division comes last: sums of bytes are exact, so ties are ties.
            means = y_overlap @ source[positions[block]].astype(float) @ x_overlap.T
            means /= n_y * n_x
            target[block] = to_levels(means) if rounded and images.dtype == np.uint8 else means
    return resized


def picture_hashes(images: np.ndarray, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """SHA-256 of the pixels of each image, as float32: the same picture under two names or in two dtypes has one hash.

    Memory-mapped images are read one by one.

    Args:
        images: (image, y, x) or (image, y, x, channel).
        rows: positions of the images, in the order wanted; None means all.

    Returns:
        (row,) text.
    """
    digests = [
        hashlib.sha256(np.ascontiguousarray(images[row], np.float32).data).hexdigest()
        for row in _positions(images, rows)
    ]
    return np.array(digests, dtype=str)


def aperture_mask(
    height: int,
    width: int,
    radius: float | np.ndarray,
    transition: float | np.ndarray,
    center_x: float | np.ndarray,
    center_y: float | np.ndarray,
) -> np.ndarray:
    """What a round window with a soft edge lets through (the Frame2 part of Frame).

    alpha = (1 + cos(pi q)) / 2 with q = (rho - R) / tau + 1 clipped to [0, 1], R = radius width, tau = transition
    width, rho = distance from the center in px: 1 up to R - tau, 0 from R on; no transition is a hard edge at R. Rows
    lie at linspace(-height / 2, height / 2, height), columns likewise. Upstream has 0 instead of 1 where q is exactly
    0, a ring of holes if a pixel meets it.

    Args:
        radius, transition, center_x, center_y: all in fractions of the width, numbers or (image,); the center as
            seen from the middle of the image, to the right and downward.

    Returns:
        (height, width) or (image, height, width) from 0 to 1.
    """
    parameters = (radius, transition, center_x, center_y)
    radius_px, transition_px, x, y = (np.asarray(value, float)[..., None, None] * width for value in parameters)
    rows, columns = (np.linspace(-n / 2, n / 2, n) for n in (height, width))
    outside = np.hypot(columns - x, rows[:, None] - y) - radius_px
    q = outside / np.maximum(transition_px, 1e-9) + 1
    return 0.5 * (1 + np.cos(np.pi * q.clip(0, 1)))


def apply_aperture(
    images: np.ndarray,
    radius: float | np.ndarray,
    transition: float | np.ndarray,
    center_x: float | np.ndarray,
    center_y: float | np.ndarray,
    background_px: float | np.ndarray,
) -> np.ndarray:
    """Put each resized image behind its window, on a background of one gray level (the Frame2 part of Frame).

    out = (image - background) alpha + background, alpha of `aperture_mask`. Images whose radius is not below 1, or
    NaN, have no window and stay as they are.

    Args:
        images: (image, height, width) or (image, channel, height, width).
        radius, transition, center_x, center_y: as in `aperture_mask`, numbers or (image,).
        background_px: number or (image,).

    Returns:
        as `images`, float32.

    Raises InputError if a parameter has another length than the images, or a window one that is not finite.
    """
    parameters = {
        "radius": radius, "transition": transition, "center_x": center_x, "center_y": center_y,
        "background_px": background_px,
    }  # fmt: skip
    for name, value in parameters.items():
        if np.shape(value) not in ((), (len(images),)):
            raise InputError(f"{name} of the apertures has shape {np.shape(value)}, there are {len(images)} images")
    table = np.array([np.broadcast_to(value, len(images)) for value in parameters.values()], dtype=float)
    windowed = np.flatnonzero(table[0] < 1)
    unknown = windowed[~np.isfinite(table[:, windowed]).all(0)]
    if len(unknown):
        found = ", ".join(f"{name} {value:g}" for name, value in zip(parameters, table[:, unknown[0]], strict=True))
        raise InputError(f"aperture of image {unknown[0]}: found {found}, allowed are finite numbers")
    shown = np.array(images, dtype=np.float32)
    height, width = images.shape[-2:]
    for block in _blocks(len(windowed), height * width):
        rows = windowed[block]
        *window, background = table[:, rows]
        alpha = aperture_mask(height, width, *window)
        # Axes of the image are the last ones; a channel axis comes between.
        alpha = alpha.reshape(len(rows), *(1,) * (images.ndim - 3), height, width)
        background = background.reshape(len(rows), *(1,) * (images.ndim - 1))
        shown[rows] = (shown[rows] - background) * alpha + background
    return shown


def _positions(images: np.ndarray, rows: Sequence[int] | np.ndarray | None) -> np.ndarray:
    return np.arange(len(images))[slice(None) if rows is None else rows]


def _blocks(n_images: int, n_pixels: int) -> Iterator[slice]:
    """Slices of as many images as fit into BLOCK_BYTES in double precision, at least one."""
    size = max(1, BLOCK_BYTES // (8 * n_pixels))
    for start in range(0, n_images, size):
        yield slice(start, start + size)


def _overlaps(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in) length that each target pixel shares with each source pixel, in 1 / n_out of a source pixel."""
    target, source = np.arange(n_out)[:, None] * n_in, np.arange(n_in) * n_out
    return (np.minimum(target + n_in, source + n_out) - np.maximum(target, source)).clip(min=0).astype(float)


def _half_up(means: np.ndarray) -> np.ndarray:
    return np.floor(means + 0.5)
