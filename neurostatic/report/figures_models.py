"""Figures of the models: how they learned, and how well they predict against the oracle."""

import textwrap
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurostatic.config.networks import Network
from neurostatic.report.style import CNN, GRAY, LIGHT, LINE_COLORS, LINEAR, finite, name_axes, panels
from neurostatic.statistics import slope_through_origin

LEGEND_CHARACTERS = 54  # that a panel is wide
SAME_SCORE = 2e-5  # tables have so many digits
STAGE_LINES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
TYPE_TITLES = {"cnn": "CNN", "linear": "linear model"}


def learning_figure(
    history: pd.DataFrame, scores: pd.DataFrame, best: pd.DataFrame, networks: dict[str, Network]
) -> Figure:
    """Validation correlation before each epoch, a line a model, a panel a model type; the kept state as a star.

    Args:
        history: network, seed, stage, learning_rate, epoch, correlation_before; a model without rows has no line.
        scores: network, seed, tier, pearson.
        best: model_type, network, seed of the best model of each type.
        networks: by name.
    """
    kept = kept_states(history, scores)
    curves = dict(list(history.groupby(["network", "seed"])))
    shown = []
    for kind in TYPE_TITLES:
        models = [model for model in curves if networks[model[0]].model_type == kind]
        winner = next(best[best.model_type == kind][["network", "seed"]].itertuples(index=False, name=None))
        few = len(models) <= len(LINE_COLORS)
        colors = dict(zip(models, LINE_COLORS, strict=False)) if few else {winner: CNN}
        cores = {networks[network].core for network, _ in models}
        handles = _legend(colors, winner, history, cores.pop() if len(cores) == 1 else "")
        shown.append((TYPE_TITLES[kind], models, winner, colors, handles))
    n_lines = max(sum(str(handle.get_label()).count("\n") + 1 for handle in handles) for *_, handles in shown)
    figure, axes = panels(9.4, 3.5 + 0.19 * n_lines, n_columns=len(shown))
    for axis, (title, models, winner, colors, handles) in zip(axes, shown, strict=True):
        for model in sorted(models, key=lambda model: model == winner):  # the best on top
            color, marker = (colors[model], ".") if model in colors else (LIGHT, "")
            for stage, of_stage in curves[model].groupby("stage"):
                epochs_done, line = of_stage.epoch - 1, STAGE_LINES[stage % len(STAGE_LINES)]
                axis.plot(
                    epochs_done, of_stage.correlation_before, line, color=color, linewidth=1.5, marker=marker, ms=4
                )
            if model in colors:
                axis.plot(*kept[model], "*", color=color, markersize=11, markeredgecolor="white", zorder=4)
        axis.legend(handles=handles, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.17))
        title += f": {len(models)} model{'' if len(models) == 1 else 's'}"
        name_axes(axis, title, "epochs trained", "validation correlation (mean over units)")
    limits = [limit for axis in axes for limit in axis.get_ylim()]
    for axis in axes:
        axis.set_ylim(min(0.0, *limits), max(limits))
    return figure


def kept_states(history: pd.DataFrame, scores: pd.DataFrame) -> dict[tuple[str, int], tuple[int, float]]:
    """(network, seed) -> epochs after which the model had the state that was kept, and its validation correlation.

    A state is scored before the next epoch, if there is one. Tables as of `learning_figure`.
    """
    validation = scores[scores.tier == "validation"].groupby(["network", "seed"]).pearson.mean()
    states = {}
    for model, curve in history.groupby(["network", "seed"]):
        score = float(validation.get(model, np.nan))
        scored = curve.epoch[np.isclose(curve.correlation_before, score, atol=SAME_SCORE)]
        states[model] = int(scored.iloc[0] - 1 if len(scored) else curve.epoch.max()), score
    return states


def _legend(
    colors: dict[tuple[str, int], str], winner: tuple[str, int], history: pd.DataFrame, only_core: str
) -> list[Line2D]:
    handles = []
    for (network, seed), color in colors.items():
        varied = network.removeprefix(only_core).removeprefix("-").replace("$", r"\$")  # it would be on every line
        name = f"{varied}, seed {seed}" if varied else f"seed {seed}"
        name = textwrap.fill(name + (" (best)" if (network, seed) == winner else ""), LEGEND_CHARACTERS)
        handles.append(Line2D([], [], color=color, label=name))
    for stage, rate in history.groupby("stage").learning_rate.first().items():
        line = STAGE_LINES[stage % len(STAGE_LINES)]
        handles.append(Line2D([], [], color=GRAY, linestyle=line, label=f"stage {stage + 1}: learning rate {rate:g}"))
    return [*handles, Line2D([], [], color=GRAY, linestyle="", marker="*", markersize=9, label="state that is kept")]


def scores_figure(selection: pd.DataFrame) -> Figure:
    """Test correlation of each unit against its oracle, CNN and linear model, and one against the other."""
    chosen = selection.hu_rank.notna()
    pairs = [
        ("oracle", "cnn_corr", "oracle correlation", "CNN: test correlation", CNN),
        ("oracle", "lin_corr", "oracle correlation", "linear model: test correlation", LINEAR),
        ("lin_corr", "cnn_corr", "linear model: test correlation", "CNN: test correlation", GRAY),
    ]
    values = np.append(finite(selection[["oracle", "cnn_corr", "lin_corr"]].to_numpy().ravel()), [0.0, 0.5])
    low, high = values.min() - 0.04, values.max() + 0.04
    figure, axes = panels(9.4, 3.4, n_columns=3)
    for axis, (x, y, x_label, y_label, color) in zip(axes, pairs, strict=True):
        axis.plot([low, high], [low, high], color=GRAY, linewidth=1, linestyle="--", zorder=1)
        axis.scatter(selection[x], selection[y], s=14, color=color, alpha=0.6, linewidths=0)
        axis.scatter(selection[x][chosen], selection[y][chosen], s=34, facecolors="none", edgecolors="black")
        both = selection[[x, y]].notna().all(axis=1)
        if x == "oracle":
            slope = slope_through_origin(selection[x], selection[y])
            axis.plot([0, high], [0, slope * high], color=color, linewidth=2)
            title = f"{slope:.2f} of the oracle (n = {both.sum()})"
        else:
            above = (selection[y] > selection[x])[both].mean() if both.any() else np.nan
            title = f"CNN above in {100 * above:.0f} % (n = {both.sum()})"
        name_axes(axis, title, x_label, y_label)
        axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    return figure
