"""One pass over an array that may be larger than memory: what is missing, infinite, or never changes."""

from dataclasses import dataclass

import numpy as np

from neurostatic.store import BLOCK_BYTES, release_pages

LARGEST = np.float32(1e30)  # of a measured value: data sets are float32, and so are sums and slopes of such values


@dataclass(frozen=True)
class Survey:
    """What was found in an array of rows.

    Attributes:
        infinite: (row, column) of the first entry that is infinite or beyond LARGEST, None without one.
        n_missing: (row,) number of NaN among the counted columns.
        silent: (unit,) whether nothing was recorded of the unit: its values are all equal, or all NaN.
    """

    infinite: tuple[int, int] | None
    n_missing: np.ndarray
    silent: np.ndarray


def survey(array: np.ndarray, unit_axis: int, counted: np.ndarray | slice = slice(None)) -> Survey:
    """Read an array once, block by block of its rows.

    Args:
        array: (row, column), may be memory-mapped.
        unit_axis: 0 if a row is a unit (traces), 1 if a column is (responses).
        counted: (column,) bool, where NaNs are counted.
    """
    n_rows, n_columns = array.shape
    infinite = None
    n_missing = np.zeros(n_rows, dtype=np.int64)
    low, high = np.full(array.shape[unit_axis], np.nan), np.full(array.shape[unit_axis], np.nan)
    step = max(1, BLOCK_BYTES // (n_columns * array.dtype.itemsize))
    for start in range(0, n_rows, step):
        rows = slice(start, start + step)
        block = np.asarray(array[rows])
        if not (block.min() >= -LARGEST and block.max() <= LARGEST):  # a NaN comes through
            n_missing[rows] = np.isnan(block[:, counted]).sum(1)
            found = np.argwhere(np.abs(block) > LARGEST) if infinite is None else np.empty((0, 2))
            if len(found):
                infinite = (start + int(found[0][0]), int(found[0][1]))
        least, largest = np.fmin.reduce(block, 1 - unit_axis), np.fmax.reduce(block, 1 - unit_axis)
        if unit_axis == 0:
            low[rows], high[rows] = least, largest
        else:
            low, high = np.fmin(low, least), np.fmax(high, largest)
        release_pages(array)
    return Survey(infinite, n_missing, ~(high > low))
