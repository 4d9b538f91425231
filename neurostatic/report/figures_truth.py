"""Figures of what was found beside the truth of the virtual mouse."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurostatic.config import STIMULUS_SETS
from neurostatic.report.style import (
    CNN,
    CONTROL_NAMES,
    GRAY,
    GREEN,
    LINEAR,
    MEI_NAMES,
    PURPLE,
    finite,
    name_axes,
    panels,
)

# Group of cells -> its look
GROUP_LOOKS = {"nonlinear": ("o", GREEN), "linear": ("^", PURPLE)}


def recovery_figure(recovery: pd.DataFrame) -> Figure:
    """How well MEIs and RFs drive the cells they were made for, against the cell's true MEI, by kind of cell.

    Args:
        recovery: kind, mei_drive_ratio, rf_drive_ratio of each unit.
    """
    kinds = sorted(recovery.kind.unique())
    figure, axes = panels(9.4, 3.9, n_columns=2)
    axis = axes[0]
    for value, style in ((1.0, "-"), (0.0, ":")):
        axis.axhline(value, color=GRAY, linewidth=1, linestyle=style, zorder=1)
    for i, kind in enumerate(kinds):
        for side, column, color, marker in (
            (-0.18, "mei_drive_ratio", CNN, "o"),
            (0.18, "rf_drive_ratio", LINEAR, "^"),
        ):
            values = np.sort(finite(recovery[column][recovery.kind == kind]))
            spread = 0.1 * np.sin(2.4 * np.arange(len(values)))  # side by side, always the same way
            axis.plot(i + side + spread, values, marker, color=color, markersize=5, alpha=0.8, markeredgewidth=0)
            if len(values):
                axis.hlines(np.median(values), i + side - 0.14, i + side + 0.14, color="black", linewidth=2, zorder=3)
    counts = recovery.kind.value_counts()
    labels = [f"{kind.replace('_', ' ')}\n(n = {counts[kind]})".replace("$", r"\$") for kind in kinds]
    axis.set_xticks(range(len(kinds)), labels)
    name_axes(axis, "", "kind of cell", "true drive / drive of the true MEI")
    handles = [
        Line2D([], [], linestyle="", marker="o", color=CNN, label="MEI (CNN)"),
        Line2D([], [], linestyle="", marker="^", color=LINEAR, label="RF (linear model)"),
        Line2D([], [], color="black", linewidth=2, label="median"),
    ]
    axis.legend(handles=handles, fontsize=8.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    ratios = recovery[["mei_drive_ratio", "rf_drive_ratio"]]
    values = np.append(finite(ratios.to_numpy().ravel()), [0.0, 1.0])
    low, high = values.min() - 0.05, values.max() + 0.05
    axes[1].plot([low, high], [low, high], color=GRAY, linewidth=1, linestyle="--")
    axes[1].scatter(ratios.rf_drive_ratio, ratios.mei_drive_ratio, s=26, color=GRAY, alpha=0.8, linewidths=0)
    above = (ratios.mei_drive_ratio > ratios.rf_drive_ratio).sum()
    name_axes(axes[1], f"MEI above RF in {above} of {ratios.notna().all(axis=1).sum()} cells", "drive ratio of the RF",
              "drive ratio of the MEI")  # fmt: skip
    axes[1].set(xlim=(low, high), ylim=(low, high), aspect="equal")
    return figure


def truth_figure(true: pd.DataFrame) -> Figure:
    """True response of each cell to its MEI against that to its control, a panel a stimulus set.

    Args:
        true: stimulus_set, group, true_mei, true_control of each cell.
    """
    kinds = [kind for kind in STIMULUS_SETS if (true.stimulus_set == kind).any()]
    figure, axes = panels(9.4, 3.7, n_columns=max(2, len(kinds)))
    for axis in axes[len(kinds) :]:
        axis.set_axis_off()
    for axis, kind in zip(axes, kinds, strict=False):
        mei, control = MEI_NAMES[kind], CONTROL_NAMES[kind]
        cells = true[true.stimulus_set == kind].dropna(subset=["true_mei", "true_control"])
        top = 1.06 * finite(cells[["true_mei", "true_control"]].to_numpy().ravel()).max(initial=1.0)
        axis.plot([0, top], [0, top], color=GRAY, linewidth=1, linestyle="--")
        for group, (marker, color) in GROUP_LOOKS.items():
            of_group = cells[cells.group == group]
            name = f"{group} cells (n = {len(of_group)})"
            axis.plot(of_group.true_control, of_group.true_mei, marker, color=color, markersize=6, alpha=0.8,
                      markeredgecolor="white", markeredgewidth=0.5, label=name)  # fmt: skip
        above = int((cells.true_mei > cells.true_control).sum())
        fraction = f" ({100 * above / len(cells):.0f} %)" if len(cells) else ""
        title = f"above the {control}\nin {above} of {len(cells)} cells{fraction}"
        name_axes(axis, title, f"response to the {control}", f"response to the {mei}")
        axis.set(xlim=(0, top), ylim=(0, top), aspect="equal")
        axis.legend(fontsize=8, frameon=False, loc="lower right", handletextpad=0.1, borderaxespad=0.1)
    return figure
