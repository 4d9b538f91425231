"""The figure of all loops: mean responses to MEIs and to their controls, loop by loop and over all cells."""

import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from neurostatic.report.figures_closed_loop import MANY_CELLS
from neurostatic.report.markup import count, number
from neurostatic.report.outcomes import Outcome, interval_in_words, outcome_of, preference_p
from neurostatic.report.style import CNN, CONTROL_NAMES, LINEAR, MEI_NAMES, finite, name_axes, panels

RESPONSE = "normalized"
PAIRS_IN_A_ROW = 5
LABEL_LETTERS = 18
SIDES = ((-0.2, "mei", CNN), (0.2, "control", LINEAR))
BAR_WIDTH = 0.36
WIDE_IN = 6  # from which on a panel has room for its words side by side


@dataclass(frozen=True)
class Cells:
    """Cells that make a pair of bars: their name, their tests, and the own images' responses of each."""

    name: str
    tests: pd.DataFrame
    diagonal: pd.DataFrame


def bars_figure(groups: list[Cells], kinds: list[str]) -> Figure:
    """Mean response to the own MEI and to the own control with 95 % intervals, a panel a kind of stimulus set.

    Args:
        groups: whose last one the titles speak of; one without a kind has no bars there.
        kinds: of stimulus sets, of each of which a group has a test.
    """
    n_columns = min(len(kinds), max(1, PAIRS_IN_A_ROW // len(groups)))
    n_rows = -(-len(kinds) // n_columns)
    width_in = min(9.4, n_columns * (2.0 + 1.5 * len(groups)))
    figure, axes = panels(width_in, 3.5 * n_rows, n_columns=n_columns, n_rows=n_rows)
    for axis in axes[len(kinds) :]:
        axis.set_axis_off()
    for axis, kind in zip(axes, kinds, strict=False):
        _draw_kind(axis, groups, kind, wide=width_in / n_columns > WIDE_IN)
    return figure


def _draw_kind(axis: Axes, groups: list[Cells], kind: str, wide: bool) -> None:
    """The bars of every group that has this kind of stimulus set."""
    labels: list[str] = []
    ends = [0.0]
    for group in groups:
        ratio = outcome_of(group.tests, kind, RESPONSE, "ratio_of_means")
        means = [outcome_of(group.tests, kind, RESPONSE, f"{image}_mean") for _, image, _ in SIDES]
        if not means[0].n:
            continue
        rows = group.diagonal[(group.diagonal.kind == kind) & (group.diagonal.response == RESPONSE)]
        for (side, image, color), mean in zip(SIDES, means, strict=True):
            values = finite(rows[f"{image}_resp"])
            _draw_bar(axis, len(labels) + side, values, mean, color)
            ends += [*values, *finite([mean.low, mean.high])]
        name = textwrap.fill(group.name, LABEL_LETTERS)
        labels.append(f"{name}\nn = {means[0].n}")
        if len(groups) > 1:
            labels[-1] += f"\nratio {number(ratio.estimate, '.2f')}"
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(range(len(labels)), labels, fontsize=8.5, parse_math=False)
    axis.set_xlim(-0.9, max(len(labels), 1) - 0.1)
    axis.set_ylim(1.04 * min(ends), (1.18 if wide else 1.3) * max(*ends, 0.1))  # room for the legend
    name_axes(axis, _title(groups[-1].tests, kind, ", " if wide else "\n"), "", "mean response (SD of the cell)")
    names = MEI_NAMES[kind], CONTROL_NAMES[kind]
    handles = [
        Patch(facecolor=to_rgba(color, 0.3), edgecolor=color, label=name)
        for (_, _, color), name in zip(SIDES, names, strict=True)
    ]
    axis.legend(handles=handles, fontsize=8.5, frameon=False, loc="upper right", ncols=2 if wide else 1,
                borderaxespad=0)  # fmt: skip


def _draw_bar(axis: Axes, x: float, values: np.ndarray, of_mean: Outcome, color: str) -> None:
    """A bar from zero to the mean, its interval, and behind them the cells, spread the same way every time."""
    spread = 0.42 * BAR_WIDTH * np.sin(2.4 * np.arange(len(values)))
    size = 12 if len(values) <= MANY_CELLS else 6
    axis.bar(x, of_mean.estimate, width=BAR_WIDTH, facecolor=color, alpha=0.3, zorder=1)
    axis.bar(x, of_mean.estimate, width=BAR_WIDTH, facecolor="none", edgecolor=color, linewidth=1.4, zorder=3)
    axis.scatter(x + spread, np.sort(values), s=size, color=color, alpha=0.55, linewidths=0, zorder=2)
    error = np.array([[of_mean.estimate - of_mean.low], [of_mean.high - of_mean.estimate]])
    if np.isfinite(error).all():
        axis.errorbar(x, of_mean.estimate, yerr=error, color="black", elinewidth=1.8, capsize=4, zorder=4)


def _title(tests: pd.DataFrame, kind: str, separator: str) -> str:
    """Ratio of means with its interval; the p and the number of cells."""
    ratio = outcome_of(tests, kind, RESPONSE, "ratio_of_means")
    if not ratio.n:
        return "no cell was tested"
    cells = count(ratio.n, "cell") + (f" of {ratio.n_animals} animals" if ratio.n_animals > 1 else "")
    return (
        f"ratio of means {number(ratio.estimate, '.2f')} ({interval_in_words(ratio, '.2f')}){separator}"
        f"{preference_p(tests, kind)}, {cells}"
    )
