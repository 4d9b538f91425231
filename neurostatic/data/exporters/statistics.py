"""Statistics of arrays larger than memory, exact medians among them."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import xarray as xr

from neurostatic.store import row_blocks


def column_statistics(spool: BinaryIO, heights: list[int], n_columns: int, block_bytes: int) -> dict[str, np.ndarray]:
    """(column,) mean, std (ddof 1), min, max and median over trials, float64, some columns at a time.

    Args:
        spool: an open file of blocks of (column, trial) float32.
        heights: trials of each block.
        block_bytes: of the columns that are in memory at a time.
    """
    parts = []
    width = max(1, block_bytes // (8 * sum(heights)))
    item = np.dtype(np.float32).itemsize
    for start in range(0, n_columns, width):
        n = min(width, n_columns - start)
        blocks, offset = [], 0
        for height in heights:
            spool.seek(item * (offset + start * height))
            blocks.append(np.frombuffer(spool.read(item * n * height), np.float32).reshape(n, height))
            offset += n_columns * height
        trials = np.concatenate(blocks, axis=1).astype(float)
        part = [trials.mean(1), trials.std(1, ddof=1), trials.min(1), trials.max(1)]
        part.append(np.median(trials, axis=1, overwrite_input=True))
        parts.append(part)
    return dict(zip(("mean", "std", "min", "max", "median"), np.concatenate(parts, axis=1), strict=True))


def pixel_statistics(images: xr.DataArray, repeats: np.ndarray, block_bytes: int) -> dict[str, np.ndarray]:
    """Scalar mean, std (ddof 1), min, max and median over all pixels, each image counted `repeats` times.

    The median is exact without a sort of all pixels: bits of floats that are not negative are in order of their
    values, so it is enough to count the upper 16 bits, and then the lower ones at the median's upper bits.

    Args:
        images: (image, y, x) finite, not negative; may be larger than memory, and is read twice.
        repeats: (image,) how often each image counts, not 0 for all.
        block_bytes: of the images that are in memory at a time.
    """

    def shown() -> Iterator[tuple[np.ndarray, int]]:
        for rows in row_blocks(images, block_bytes):
            for image, times in zip(images[rows].values, repeats[rows], strict=True):
                if times:
                    yield np.abs(image.astype(np.float32).ravel()), times  # abs: there is a -0.0

    n_pixels = int(repeats.sum()) * images[0].size
    total, low, high = 0.0, np.inf, -np.inf
    upper = np.zeros(2**16, dtype=np.int64)
    for pixels, times in shown():
        total += times * pixels.sum(dtype=float)
        low, high = min(low, pixels.min()), max(high, pixels.max())
        upper += times * np.bincount(pixels.view(np.uint32) >> 16, minlength=2**16)
    mean = total / n_pixels

    ranks = np.array([(n_pixels - 1) // 2, n_pixels // 2])
    middle = np.searchsorted(upper.cumsum(), ranks, side="right")
    squares = 0.0
    lower = np.zeros((2, 2**16), dtype=np.int64)
    for pixels, times in shown():
        squares += times * ((pixels - mean) ** 2).sum()
        bits = pixels.view(np.uint32)
        for counts, top in zip(lower, middle, strict=True):
            counts += times * np.bincount(bits[bits >> 16 == top] & 0xFFFF, minlength=2**16)
    before = upper.cumsum()[middle] - upper[middle]
    last = [np.searchsorted(c.cumsum(), r, side="right") for c, r in zip(lower, ranks - before, strict=True)]
    median = (middle << 16 | np.array(last)).astype(np.uint32).view(np.float32).mean(dtype=float)
    values = {"mean": mean, "std": np.sqrt(squares / (n_pixels - 1)), "min": low, "max": high, "median": median}
    return {name: np.array(value) for name, value in values.items()}
