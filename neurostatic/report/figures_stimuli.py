"""Figures of the stimuli: contrast tuning of MEIs and RFs, the monitor, and what it showed."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from neurostatic.data.gamma import fit_residuals
from neurostatic.report.style import CNN, GRAY, IMAGE_LOOKS, LIGHT, LINEAR, name_axes, panels

TOLERANCE = 0.05
SMALL_RESIDUAL = 1e-3  # of the brightest level: rounding errors are not blown up to the height of the panel


def tuning_figure(cnn: xr.Dataset, linear: xr.Dataset) -> Figure:
    """Predicted response to each MEI and RF as its contrast grows; a dot where the image itself lies."""
    figure, axes = panels(9.0, 3.6, n_columns=2)
    for axis, store, color, name in ((axes[0], cnn, CNN, "MEIs, CNN"), (axes[1], linear, LINEAR, "RFs, linear model")):
        made = np.flatnonzero(store.failed.values == "")
        saturating = 0
        for row in made:
            monotonic = store.monotonic.values[row] == 1
            saturating += not monotonic
            curve = store.tuning_contrast.values[row], store.tuning_response.values[row]
            axis.plot(*curve, color=color if monotonic else GRAY, linewidth=1.1, alpha=0.8,
                      linestyle="-" if monotonic else "--")  # fmt: skip
            contrast = store.mei.values[row].std()
            axis.plot(contrast, store.activation.values[row], "o", color=color, markersize=4, markeredgecolor="white")
        title = f"{name}: {len(made)} units, {saturating} not monotonic"
        name_axes(axis, title, "contrast: standard deviation of the image (px)", "predicted response (SD of the unit)")
        axis.set_xlim(left=0)
    return figure


def calibration_figure(calibration: pd.DataFrame, fit: pd.Series, mean_cd_m2: float, contrast_cd_m2: float) -> Figure:
    """Measured luminance of the monitor, its power law and the range the stimuli ask for; residuals of the power law.

    Args:
        calibration: (level,) pixel_value, luminance_cd_m2.
        fit: amplitude, gamma, offset and mse of the power law.
    """
    figure, (axis, residual_axis) = panels(9.0, 3.6, n_columns=2)
    pixel = np.arange(256)
    law = fit.amplitude * pixel**fit.gamma + fit.offset
    axis.axhspan(mean_cd_m2 - contrast_cd_m2, mean_cd_m2 + contrast_cd_m2, color=LIGHT, zorder=0)
    axis.axhline(mean_cd_m2, color=GRAY, linewidth=1)
    axis.plot(pixel, law, color=CNN, linewidth=1.8)
    axis.plot(calibration.pixel_value, calibration.luminance_cd_m2, "o", color=LINEAR, markersize=5)
    handles = [
        Line2D([], [], color=LINEAR, linestyle="", marker="o", label=f"measured ({len(calibration)} levels)"),
        Line2D([], [], color=CNN, label=f"power law, exponent {fit.gamma:.2f}"),
        Line2D([], [], color=LIGHT, linewidth=7, label="stimuli: mean ± contrast"),
    ]
    axis.legend(handles=handles, fontsize=9, frameon=False, loc="upper left")
    name_axes(axis, "", "pixel value (0-255)", "luminance (cd/m²)")
    residual = fit_residuals(calibration, fit).residual_cd_m2
    limit = 1.15 * max(residual.abs().max(), SMALL_RESIDUAL * calibration.luminance_cd_m2.max())
    residual_axis.axhline(0, color=CNN, linewidth=1.8)
    residual_axis.vlines(calibration.pixel_value, 0, residual, color=LINEAR, linewidth=1)
    residual_axis.plot(calibration.pixel_value, residual, "o", color=LINEAR, markersize=5)
    residual_axis.set_ylim(-limit, limit)
    title = f"root mean square {np.sqrt(fit.mse):.2g} cd/m²"
    name_axes(residual_axis, title, "pixel value (0-255)", "measured - power law (cd/m²)")
    return figure


def quality_figure(qc: pd.DataFrame, mean_cd_m2: float, contrast_cd_m2: float) -> Figure:
    """Mean and contrast of each stimulus as the monitor shows it, with the 5 % bands, and the clipped pixels."""
    columns = [
        ("mean_cd_m2", "mean luminance (cd/m²)", mean_cd_m2),
        ("contrast_cd_m2", "contrast: SD of luminance (cd/m²)", contrast_cd_m2),
        ("clipped_fraction", "clipped pixels (%)", None),
    ]
    figure, axes = panels(9.4, 3.2, n_columns=len(columns))
    for axis, (column, label, target) in zip(axes, columns, strict=True):
        if target is not None:
            axis.axhspan(target * (1 - TOLERANCE), target * (1 + TOLERANCE), color=LIGHT, zorder=0)
            axis.axhline(target, color=GRAY, linewidth=1)
            axis.set_ylim(target * (1 - 1.8 * TOLERANCE), target * (1 + 1.8 * TOLERANCE))
        for image_class, rows in qc.groupby("image_class", sort=False):
            name, marker, color = IMAGE_LOOKS[image_class]
            values = rows[column] * (1 if target is not None else 100)
            axis.plot(rows.image_id, values, marker, color=color, markersize=4.5, alpha=0.85, label=name)
        name_axes(axis, "", "image id", label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[2].set_ylim(bottom=-0.05)
    figure.legend(*axes[2].get_legend_handles_labels(), fontsize=9, frameon=False, loc="outside upper right", ncols=2)
    return figure
