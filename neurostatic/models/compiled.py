"""Compiled loops: features times a bilinear read of maps, without keeping what is read.

The sampled maps of all units are larger than anything else of a network. Here every value is used where it is read, and
read again for the gradients. The order of each sum is fixed, whatever the number of threads.

Shapes: maps (image, y, x, channel), points (image, unit, 2), features (unit, channel), all contiguous.
"""

import math
import os

import numba
import numpy as np

_compiled = numba.njit(
    nogil=True,
    cache=os.access(os.path.dirname(__file__), os.W_OK),  # else every process compiles them, in four seconds
    error_model="numpy",
    fastmath={"reassoc", "contract", "nsz"},  # sums in any order; NaN and infinity stay what they are
)
FAR = 1e6  # px; beyond, as for what is no number, a point is set outside of the maps


@_compiled
def read(
    maps: np.ndarray,
    features: np.ndarray,
    points: np.ndarray,
    responses: np.ndarray,
    slopes: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Add to responses (image, unit), and their slopes (image, unit, 2) along x and y, of images first:last."""
    _, height, width, n_channels = maps.shape
    zero = maps.dtype.type(0)
    for image in range(first, last):
        for unit in range(len(features)):
            left, x, to_left, to_right = _neighbors(points[image, unit, 0], width)
            top, y, to_top, to_bottom = _neighbors(points[image, unit, 1], height)
            top_left, top_right = maps[image, top[0], left[0]], maps[image, top[0], left[1]]
            bottom_left, bottom_right = maps[image, top[1], left[0]], maps[image, top[1], left[1]]
            weights = features[unit]
            a, b, c, d = zero, zero, zero, zero
            for channel in range(n_channels):
                weight = weights[channel]
                a += top_left[channel] * weight
                b += top_right[channel] * weight
                c += bottom_left[channel] * weight
                d += bottom_right[channel] * weight
            a, b, c, d = a * to_top * to_left, b * to_top * to_right, c * to_bottom * to_left, d * to_bottom * to_right
            responses[image, unit] += (a * (1 - x) + b * x) * (1 - y) + (c * (1 - x) + d * x) * y
            slopes[image, unit, 0] += ((b - a) * (1 - y) + (d - c) * y) * (width - 1) / 2
            slopes[image, unit, 1] += ((c - a) * (1 - x) + (d - b) * x) * (height - 1) / 2


@_compiled
def add_to_maps(
    gradient: np.ndarray, features: np.ndarray, points: np.ndarray, upstream: np.ndarray, first: int, last: int
) -> None:
    """Add the gradient of the maps, images first:last, for that of the responses, upstream (image, unit)."""
    _, height, width, n_channels = gradient.shape
    for image in range(first, last):
        for unit in range(len(features)):
            rows, columns, corners = _corners(points[image, unit], height, width, upstream[image, unit])
            weights = features[unit]
            for corner in range(4):
                pixel = gradient[image, rows[corner // 2], columns[corner % 2]]
                factor = gradient.dtype.type(corners[corner])
                for channel in range(n_channels):
                    pixel[channel] += factor * weights[channel]


@_compiled
def add_to_features(
    gradient: np.ndarray, maps: np.ndarray, points: np.ndarray, upstream: np.ndarray, first: int, last: int
) -> None:
    """Add the gradient of the features, units first:last, for that of the responses, upstream (image, unit)."""
    n_images, height, width, n_channels = maps.shape
    kind = maps.dtype.type
    for image in range(n_images):
        for unit in range(first, last):
            rows, columns, (a, b, c, d) = _corners(points[image, unit], height, width, upstream[image, unit])
            top_left, top_right = maps[image, rows[0], columns[0]], maps[image, rows[0], columns[1]]
            bottom_left, bottom_right = maps[image, rows[1], columns[0]], maps[image, rows[1], columns[1]]
            a, b, c, d = kind(a), kind(b), kind(c), kind(d)
            of_unit = gradient[unit]
            for channel in range(n_channels):
                of_unit[channel] += (
                    a * top_left[channel]
                    + b * top_right[channel]
                    + c * bottom_left[channel]
                    + d * bottom_right[channel]
                )


@_compiled
def _corners(
    point: np.ndarray, height: int, width: int, scale: float
) -> tuple[tuple[int, int], tuple[int, int], tuple[float, float, float, float]]:
    """Rows and columns around a point, and scale times the weight of each corner, row by row."""
    columns, x, to_left, to_right = _neighbors(point[0], width)
    rows, y, to_top, to_bottom = _neighbors(point[1], height)
    left, right = (1 - x) * to_left, x * to_right
    top, bottom = scale * (1 - y) * to_top, scale * y * to_bottom
    return rows, columns, (top * left, top * right, bottom * left, bottom * right)


@_compiled
def _neighbors(coordinate: float, size: int) -> tuple[tuple[int, int], float, bool, bool]:
    """The pixels before and after a coordinate of [-1, 1], how far after the first it is, and whether each is there."""
    place = (coordinate + 1) / 2 * (size - 1)
    before = math.floor(place) if abs(place) < FAR else -2
    pixels = min(max(before, 0), size - 1), min(max(before + 1, 0), size - 1)
    return pixels, place - before, 0 <= before < size, -1 <= before < size - 1
