"""Figure of what the CNN was asked beside its MEIs."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from neurostatic.report.style import DPI, LIGHT, name_axes

NAMES = {"cnn": "MEIs", "linear": "RFs"}


def probes_figure(probes: xr.Dataset) -> Figure:
    """Confusion matrices of MEIs and RFs in silico, and the median response to shifted MEIs."""
    parts: list[tuple[str, np.ndarray, tuple[float, float, float, float] | None]] = []
    if "confusion" in probes:
        own = np.diagonal(probes.confusion.sel(model_type="cnn").values)
        scaled = probes.confusion.values / np.where(own > 0, own, np.nan)
        parts += [(f"images: {NAMES[name]}", scaled[i], None) for i, name in enumerate(probes.model_type.values)]
    if "shift_response" in probes:
        moved = probes.shift_response.sel(model_type="cnn")
        relative = (moved / moved.sel(y_shift=0, x_shift=0)).median("unit").values
        reach = float(probes.x_shift.max()) + 0.5
        parts.append(("shifted MEIs", relative, (-reach, reach, reach, -reach)))
    drawing = Figure(figsize=(9.4, 3.3), dpi=DPI, layout="constrained")
    axes = drawing.subplots(1, len(parts), squeeze=False)[0]
    for axis, (title, values, extent) in zip(axes, parts, strict=True):
        axis.set_facecolor(LIGHT)
        shown = axis.imshow(values, cmap="viridis", vmin=0, vmax=1, extent=extent, interpolation="nearest")
        labels = ("unit", "image made for") if extent is None else ("shift in x (px)", "shift in y (px)")
        name_axes(axis, title, *labels)
        axis.tick_params(labelsize=9)
    bar = drawing.colorbar(shown, ax=list(axes), shrink=0.85, pad=0.02)
    bar.set_label("response / response to the own MEI", fontsize=9)
    return drawing
