"""Figures of the closed loop: confusion matrices and their diagonal."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurostatic.closed_loop.confusion import MODEL_TYPES
from neurostatic.report.style import (
    CNN,
    CONTROL_NAMES,
    DPI,
    GRAY,
    IMAGE_LOOKS,
    LIGHT,
    LINEAR,
    MEI_NAMES,
    finite,
    name_axes,
    panels,
)

MAX_TICK_LABELS = 40
LIGHT_POINT = "#9A9A9A"
MANY_CELLS = 60  # from which on points are small
RESPONSE_UNITS = {
    "normalized": "mean response (SD of the cell)",
    "zscore": "mean response (z score of the cell)",
}
MODEL_TITLES = {name: f"images: {IMAGE_LOOKS[image_class][0]}s" for image_class, name in MODEL_TYPES.items()}


def confusion_figure(confusion: xr.Dataset, diagonal: pd.DataFrame, kind: str, response: str = "normalized") -> Figure:
    """Confusion matrices of MEIs and their controls: rows are images, columns are cells, one color scale.

    Both axes list the units by descending difference between MEI and control on the diagonal, so that a unit's own
    image stands on the diagonal; units without that difference come last. Gray: no value.

    Args:
        confusion: mu (kind, response, model_type, image_unit_id, matched_unit_id).
        diagonal: kind, response, unit_id, diff_rank.
        kind: of the stimulus set; response: normalized | zscore.
    """
    diagonal = diagonal[diagonal.kind == kind]
    confusion = confusion.sel(kind=kind)
    confusion = confusion.isel(
        model_type=(confusion.n > 0).any(("response", "image_unit_id", "matched_unit_id")).values
    )
    shown = (confusion.n > 0).any(("response", "model_type"))
    confusion = confusion.sel(image_unit_id=confusion.image_unit_id[(shown.any("matched_unit_id")).values])
    ranks = diagonal[diagonal.response == response].set_index("unit_id").diff_rank
    units = confusion.image_unit_id.values.tolist()
    units.sort(key=lambda unit: (float(ranks.get(unit, np.inf)), unit))
    mu = confusion.mu.sel(response=response, image_unit_id=units, matched_unit_id=units)
    values = finite(mu.values.ravel())
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    low = min(low, 0.0) if response == "normalized" else low
    model_types = [name for name in MODEL_TITLES if name in mu.model_type.values]
    figure = Figure(figsize=(9.4, 4.6), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, len(model_types), squeeze=False)[0]
    for axis, model_type in zip(axes, model_types, strict=True):
        axis.set_facecolor(LIGHT)
        matrix = mu.sel(model_type=model_type).values
        shown = axis.imshow(matrix, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
        name_axes(axis, MODEL_TITLES[model_type], "cell (unit id)", "image made for (unit id)")
        if len(units) <= MAX_TICK_LABELS:
            axis.set_xticks(range(len(units)), units, rotation=90, fontsize=7)
            axis.set_yticks(range(len(units)), units, fontsize=7)
        else:
            axis.set_xlabel("cell (rank of the difference)")
            axis.set_ylabel("image made for (rank of the difference)")
    bar = figure.colorbar(shown, ax=list(axes), shrink=0.85, pad=0.02)
    bar.set_label(RESPONSE_UNITS[response])
    return figure


def diagonal_figure(diagonal: pd.DataFrame, kind: str) -> Figure:
    """Response to the own MEI against the own control, mean and sem over trials; and the differences in order.

    Args:
        diagonal: mei_resp, mei_sem, control_resp, control_sem, diff_resp, diff_low, diff_high, p_value, q_value of one
            kind of stimulus set and of response.
        kind: of the stimulus set.
    """
    mei, control = MEI_NAMES[kind], CONTROL_NAMES[kind]
    figure, axes = panels(9.4, 4.5, n_columns=2)
    paired = diagonal.dropna(subset=["mei_resp", "control_resp"]).sort_values("diff_resp", ascending=False)
    sems = paired[["mei_sem", "control_sem"]].fillna(0.0)
    ends = finite(
        [paired.mei_resp + sems.mei_sem, paired.control_resp + sems.control_sem,
         paired.mei_resp - sems.mei_sem, paired.control_resp - sems.control_sem]
    )  # fmt: skip
    bottom, top = min(0.0, 1.05 * ends.min(initial=0.0)), 1.05 * ends.max(initial=1.0)
    axes[0].plot([bottom, top], [bottom, top], color=GRAY, linewidth=1, linestyle="--")
    axes[1].axhline(0, color=GRAY, linewidth=1, linestyle="--")
    below, above = ((paired.diff_resp - paired.diff_low).fillna(0.0), (paired.diff_high - paired.diff_resp).fillna(0.0))
    drawn = [
        (axes[0], paired.control_resp.to_numpy(), paired.mei_resp.to_numpy(), sems.control_sem, sems.mei_sem),
        (axes[1], np.arange(len(paired)), paired.diff_resp.to_numpy(), None, [below, above]),
    ]
    looks = _difference_looks(mei, control, paired)
    size = 30 if len(paired) <= MANY_CELLS else 14
    for axis, x, y, x_error, y_error in drawn:
        axis.errorbar(x, y, xerr=x_error, yerr=y_error, fmt="none", ecolor="#B5B5B5", elinewidth=0.9, zorder=2)
        for _, face, edge, of_look in looks:
            axis.scatter(x[of_look], y[of_look], s=size, color=face, zorder=3, edgecolors=edge, linewidths=1.1)
    name_axes(axes[0], f"n = {len(paired)} cells", f"response to the own {control} (SD of the cell)",
              f"response to the own {mei} (SD of the cell)")  # fmt: skip
    axes[0].set(xlim=(bottom, top), ylim=(bottom, top), aspect="equal")
    name_axes(axes[1], "the same cells in order", "cell (rank)", f"{mei} - {control} (SD of the cell)")
    handles = [
        Line2D([], [], linestyle="", marker="o", markerfacecolor=face, markeredgecolor=edge, label=name)
        for name, face, edge, _ in reversed(looks)
    ]
    figure.legend(handles=handles, fontsize=8.5, frameon=False, loc="outside lower center", ncols=3)
    return figure


def _difference_looks(mei: str, control: str, cells: pd.DataFrame) -> list[tuple[str, str, str, np.ndarray]]:
    """Name, face and edge color, and members (cell,) of each class of cells: what they prefer, and how surely.

    The surest come last, on top of the others.
    """
    corrected, uncorrected = ((cells[name] < 0.05).to_numpy() for name in ("q_value", "p_value"))
    looks = [("p ≥ 0.05", LIGHT_POINT, LIGHT_POINT, ~uncorrected & ~corrected)]
    for name, color, prefers in (
        (f"{control} > {mei}", LINEAR, (cells.diff_resp < 0).to_numpy()),
        (f"{mei} > {control}", CNN, (cells.diff_resp > 0).to_numpy()),
    ):
        looks.append((f"{name}, only p < 0.05", "white", color, uncorrected & ~corrected & prefers))
        looks.append((f"{name}, q < 0.05", color, color, corrected & prefers))
    return looks
