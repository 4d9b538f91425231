"""An array in a few words: its kind, what is missing in it, and its range; read in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurostatic.store import row_blocks

MOST_TEXTS = 5  # different texts that are shown as a list
TEXTS_WIDTH = 40


@dataclass(frozen=True)
class Summary:
    """What was found in an array.

    Attributes:
        kind: dtype, or 'text'.
        missing: number of NaN, or of empty texts.
        range: lowest and highest number; the different texts, or how many there are.
    """

    kind: str
    missing: int
    range: str


def summarize(values: xr.DataArray | xr.Variable) -> Summary:
    """Read an array once, at most 64 MB of its rows at a time."""
    if values.dtype.kind in "UTO":
        return _summarize_texts(values)
    if values.dtype.kind not in "biuf":
        return Summary(str(values.dtype), 0, "")
    missing, low, high = 0, np.nan, np.nan
    for block in _blocks(values):
        missing += int(np.isnan(block).sum())
        low, high = np.fmin(low, np.fmin.reduce(block, None)), np.fmax(high, np.fmax.reduce(block, None))
    if values.dtype.kind == "b":
        text = " and ".join(str(bool(value)).lower() for value in dict.fromkeys((low, high)) if not np.isnan(value))
    else:
        text = "" if np.isnan(low) else f"{low:.6g} to {high:.6g}" if low < high else f"always {low:.6g}"
    return Summary(str(values.dtype), missing, text)


def _summarize_texts(values: xr.DataArray | xr.Variable) -> Summary:
    missing, texts = 0, set()
    for block in _blocks(values):
        found = [str(text) for text in block.ravel()]
        missing += found.count("")
        texts.update(found)
    texts.discard("")
    listed = ", ".join(sorted(texts))
    if len(texts) > MOST_TEXTS or len(listed) > TEXTS_WIDTH:
        listed = f"{len(texts)} different" if len(texts) > 1 else "one"
    return Summary("text", missing, listed)


def _blocks(values: xr.DataArray | xr.Variable) -> Iterator[np.ndarray]:
    """Blocks of rows, none of them empty."""
    if values.ndim == 0:
        yield np.asarray(values.values)[None]
    elif values.size:
        for rows in row_blocks(values):
            yield np.asarray(values[rows].values)
