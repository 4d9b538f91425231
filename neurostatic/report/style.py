"""What the figures share: size, colors that color-blind readers and printers tell apart, and tiled images."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from neurostatic.config import STIMULUS_SETS

# Okabe & Ito (2008)
BLUE, ORANGE, GREEN, SKY, PURPLE, YELLOW = "#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#E69F00"
CNN, LINEAR = BLUE, ORANGE  # one color each throughout: images and scores of the CNN, of the linear model
LINE_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, "#000000", "#999999")
# Class of shown images: name, marker, color
IMAGE_LOOKS = {
    "multi_cnn_mei": ("MEI", "o", CNN),
    "multi_lin_rf": ("RF", "^", LINEAR),
    "gabor": ("Gabor", "s", GREEN),
    "masked_mei": ("masked MEI", "D", SKY),
    "masked_imagenet": ("masked natural image", "v", PURPLE),
}
# Kind of stimulus set -> what the images made for a cell are called, and those they are compared with
MEI_NAMES = {kind: IMAGE_LOOKS[mei][0] for kind, (mei, _) in STIMULUS_SETS.items()}
CONTROL_NAMES = {kind: IMAGE_LOOKS[control][0] for kind, (_, control) in STIMULUS_SETS.items()}
GRAY, LIGHT = "#666666", "#D9D9D9"
DPI = 110
GAP_PX = 3  # white between tiled images


def panels(width_in: float, height_in: float, n_columns: int = 1, n_rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row, without the box's upper and right side."""
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
    return figure, axes


def name_axes(axis: Axes, title: str, x: str, y: str) -> None:
    """Title and axis labels in the sizes of the page; names in them are text, never formulas."""
    for text in (axis.set_title(title, fontsize=10, loc="left"), axis.set_xlabel(x), axis.set_ylabel(y)):
        text.set_parse_math(False)


def tile(
    images: Sequence[Sequence[np.ndarray | None]], gap_y_px: int = GAP_PX
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Put images of one size, in rows, side by side; None leaves a place empty.

    Returns:
        The mosaic, NaN between the images, and the (x, y) of the upper left corner of each place, row by row.
    """
    height, width = next(image.shape for row in images for image in row if image is not None)
    n_columns = max(len(row) for row in images)
    size = (len(images) * (height + gap_y_px) - gap_y_px, n_columns * (width + GAP_PX) - GAP_PX)
    mosaic, corners = np.full(size, np.nan), []
    for i, row in enumerate(images):
        for j, image in enumerate(row):
            x, y = j * (width + GAP_PX), i * (height + gap_y_px)
            corners.append((x, y))
            if image is not None:
                mosaic[y : y + height, x : x + width] = image
    return mosaic, corners


def median(values: ArrayLike) -> float:
    """Median of the numbers that are there, NaN if there is none."""
    found = finite(values)
    return float(np.median(found)) if len(found) else np.nan


def mean(values: ArrayLike) -> float:
    """Mean of the numbers that are there, NaN if there is none."""
    found = finite(values)
    return float(found.mean()) if len(found) else np.nan


def finite(values: ArrayLike) -> np.ndarray:
    """Numbers that are there."""
    values = np.asarray(values, dtype=float)
    return values[np.isfinite(values)]
