"""Figures of the stimuli: MEIs and RFs, their contrast tuning, the monitor, and what it showed."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurostatic.report.style import CNN, DPI, GRAY, LIGHT, LINEAR, YELLOW, finite, name_axes, panels, tile

MAX_GALLERY_UNITS = 24
UNITS_A_ROW = 3
LABEL_PX = 14  # room for a line of text above each image
GRAY_PERCENTILE = 99.5
TOLERANCE = 0.05


def gray_limit(*meis: np.ndarray) -> float:
    """Half range (px) of the gray scale that all these images share: a percentile of |px - mean of the image|."""
    deviation = [np.abs(images - images.mean((1, 2), keepdims=True)).ravel() for images in meis]
    deviation = finite(np.concatenate(deviation))
    return max(1.0, float(np.percentile(deviation, GRAY_PERCENTILE))) if len(deviation) else 1.0


def gallery_figure(selected: pd.DataFrame, cnn: xr.Dataset, linear: xr.Dataset, masks: xr.Dataset) -> Figure:
    """MEI with the outline of its tight mask, and RF, of each selected unit; at most MAX_GALLERY_UNITS.

    Each image is shown as px - mean of the image, all on one gray scale (`gray_limit`).

    Args:
        selected: scan, unit_id of the units, in the order shown.
        cnn, linear, masks: stores with scan and unit_id along unit.
    """
    units = list(zip(selected.scan, selected.unit_id, strict=True))[:MAX_GALLERY_UNITS]
    limit = gray_limit(cnn.mei.values, linear.mei.values)
    place = {name: _rows(store) for name, store in (("cnn", cnn), ("linear", linear), ("masks", masks))}
    images: list = [
        None if unit not in place[name] else _centered(store.mei.values[place[name][unit]])
        for unit in units
        for name, store in (("cnn", cnn), ("linear", linear))
    ]
    shape = cnn.mei.shape[1:]
    images = [np.full(shape, np.nan) if image is None else image for image in images]
    a_row = 2 * min(UNITS_A_ROW, len(units))
    mosaic, corners = tile([images[i : i + a_row] for i in range(0, len(images), a_row)], gap_y_px=LABEL_PX)
    height, width = mosaic.shape[0] + LABEL_PX, mosaic.shape[1]
    width_in = 9.4 * a_row / (2 * UNITS_A_ROW)
    image_in = width_in * height / width
    bar_in = 0.6
    figure = Figure(figsize=(width_in, image_in + bar_in), dpi=DPI)
    axis = figure.add_axes((0, bar_in / (image_in + bar_in), 1, image_in / (image_in + bar_in)))
    shown = axis.imshow(mosaic, cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest")
    axis.set(xlim=(-0.5, width - 0.5), ylim=(mosaic.shape[0] - 0.5, -LABEL_PX - 0.5))
    axis.set_axis_off()
    several_scans = selected.scan.nunique() > 1
    for i, unit in enumerate(units):
        (mei_x, mei_y), (rf_x, rf_y) = corners[2 * i], corners[2 * i + 1]
        label = f"{unit[0]} {unit[1]}" if several_scans else f"unit {unit[1]}"
        mei_label, failed = _activation(cnn, place["cnn"].get(unit))
        rf_label, rf_failed = _activation(linear, place["linear"].get(unit))
        for x, y, text in ((mei_x, mei_y, f"{label}   MEI {mei_label}"), (rf_x, rf_y, f"RF {rf_label}")):
            axis.text(x, y - 2.5, text, fontsize=8.5, va="bottom", parse_math=False)
        for x, y, reason in ((mei_x, mei_y, failed), (rf_x, rf_y, rf_failed)):
            if reason:
                axis.text(x + 2, y + shape[0] / 2, f"none: {reason}"[:32], fontsize=7, va="center", parse_math=False)
        if unit in place["masks"]:
            mask = masks.tight_mask.values[place["masks"][unit]]
            if np.isfinite(mask).all() and mask.max() > 0.5 > mask.min():
                y_px, x_px = np.arange(shape[0]) + mei_y, np.arange(shape[1]) + mei_x
                axis.contour(x_px, y_px, mask, levels=[0.5], colors=[YELLOW], linewidths=1.1)
    bar_axis = figure.add_axes((0.3, 0.42 / (image_in + bar_in), 0.4, 0.12 / (image_in + bar_in)))
    bar = figure.colorbar(shown, cax=bar_axis, orientation="horizontal")
    bar.set_label("gray level minus mean of the image (px of 0-255)", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    return figure


def _rows(store: xr.Dataset) -> dict:
    units = zip(store.scan.values.tolist(), store.unit_id.values.tolist(), strict=True)
    return {unit: row for row, unit in enumerate(units)}


def _centered(image: np.ndarray) -> np.ndarray:
    return image - image.mean()


def _activation(store: xr.Dataset, row: int | None) -> tuple[str, str]:
    """Label and, where there is no image, the reason."""
    if row is None:
        return "–", "not made"
    failed, activation = str(store.failed.values[row]), float(store.activation.values[row])
    return ("–", failed) if failed or not np.isfinite(activation) else (f"{activation:.2f}", "")


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
    """Measured luminance of the monitor, its power law, and the range the stimuli ask for."""
    figure, (axis,) = panels(5.6, 3.6)
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
    return figure


def quality_figure(qc: pd.DataFrame, mean_cd_m2: float, contrast_cd_m2: float) -> Figure:
    """Mean and contrast of each stimulus as the monitor shows it, with the 5 % bands, and the clipped pixels."""
    columns = [
        ("mean_cd_m2", "mean luminance (cd/m²)", mean_cd_m2),
        ("contrast_cd_m2", "contrast: SD of luminance (cd/m²)", contrast_cd_m2),
        ("clipped_fraction", "clipped pixels (%)", None),
    ]
    looks = {"multi_cnn_mei": ("o", CNN, "MEI"), "multi_lin_rf": ("^", LINEAR, "RF")}
    figure, axes = panels(9.4, 3.2, n_columns=len(columns))
    for axis, (column, label, target) in zip(axes, columns, strict=True):
        if target is not None:
            axis.axhspan(target * (1 - TOLERANCE), target * (1 + TOLERANCE), color=LIGHT, zorder=0)
            axis.axhline(target, color=GRAY, linewidth=1)
            axis.set_ylim(target * (1 - 1.8 * TOLERANCE), target * (1 + 1.8 * TOLERANCE))
        for image_class, (marker, color, name) in looks.items():
            rows = qc[qc.image_class == image_class]
            values = rows[column] * (1 if target is not None else 100)
            axis.plot(rows.image_id, values, marker, color=color, markersize=4.5, alpha=0.85, label=name)
        name_axes(axis, "", "image id", label)
    axes[2].set_ylim(bottom=-0.05)
    axes[2].legend(fontsize=9, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure
