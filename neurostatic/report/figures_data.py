"""Figures of the recordings: images that were shown, and how reliably the units respond to them."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from neurostatic.report.style import DPI, GRAY, GREEN, LIGHT, SKY, finite, name_axes, panels, tile


def examples_figure(examples: dict[str, np.ndarray]) -> Figure:
    """Images of each tier, a row a tier; examples: tier -> (image, y, x) px."""
    n_columns = max(len(images) for images in examples.values())
    mosaic, corners = tile([[*images, *[None] * (n_columns - len(images))] for images in examples.values()])
    width_in, image_share = 9.4, 0.91
    figure = Figure(figsize=(width_in, width_in * image_share * mosaic.shape[0] / mosaic.shape[1]), dpi=DPI)
    axis = figure.add_axes((1 - image_share, 0, image_share, 1))
    axis.imshow(mosaic, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    half_px = next(iter(examples.values())).shape[1] / 2
    for (x, y), tier in zip(corners[::n_columns], examples, strict=True):
        label = tier.replace("_", "\n")
        axis.text(x - 4, y + half_px, label, ha="right", va="center", fontsize=9, parse_math=False)
    axis.set_axis_off()
    return figure


def oracle_figure(oracle: np.ndarray, ceiling: np.ndarray, noiseless: np.ndarray | None) -> Figure:
    """Histograms of the oracle, of the estimated ceiling of single trials and, where known, of the noiseless rate's."""
    shown: list[tuple[np.ndarray, str, str, Callable[[np.ndarray], float], str]] = [
        (finite(oracle), "oracle", "median", np.median, GRAY),
        (finite(ceiling), "ceiling estimated from repeats", "mean", np.mean, SKY),
    ]
    if noiseless is not None:
        shown.append((finite(noiseless), "noiseless rate against single trials", "mean", np.mean, GREEN))
    everything = np.concatenate([values for values, *_ in shown] + [[0.0, 0.5]])
    bins = np.arange(np.floor(everything.min() * 20), np.ceil(everything.max() * 20) + 1) / 20
    figure, axes = panels(6.5, 2.6 * len(shown), n_rows=len(shown))
    for axis, (values, label, name, average, color) in zip(axes, shown, strict=True):
        axis.hist(values, bins=bins.tolist(), color=LIGHT, edgecolor=color)
        title = f"{label}: no unit"
        if len(values):
            title = f"{label}: {name} {average(values):.3f} (n = {len(values)} units)"
            axis.axvline(average(values), color=color, linewidth=2.5)
        name_axes(axis, title, "Pearson correlation", "units")
        axis.set_xlim(bins[0], bins[-1])
    return figure
