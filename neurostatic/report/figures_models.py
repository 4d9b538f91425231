"""Figures of the models: how they learned, and how well they predict against the oracle."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurostatic.report.style import CNN, GRAY, LIGHT, LINE_COLORS, LINEAR, finite, name_axes, panels

STAGE_LINES = ("-", "--", ":", "-.")
CORE_TITLES = {"GaussianLaplace": "CNN", "StackedLinearGaussianLaplace": "linear model"}


def learning_figure(
    history: pd.DataFrame, scores: pd.DataFrame, best: pd.DataFrame, networks: dict[str, dict]
) -> Figure:
    """Validation correlation before each epoch, a line a network and seed, a panel a core; the kept state as a star.

    Args:
        history: network, seed, stage, learning_rate, epoch, correlation_before.
        scores: network, seed, tier, pearson.
        best: core, network, seed of the best model of each core.
        networks: network -> parameters, `core` among them.
    """
    kept = scores[scores.tier == "validation"].groupby(["network", "seed"]).pearson.mean()
    curves = dict(list(history.groupby(["network", "seed"])))
    by_core = {core: [model for model in curves if networks[model[0]]["core"] == core] for core in CORE_TITLES}
    named = max(len(models) if len(models) <= len(LINE_COLORS) else 1 for models in by_core.values())
    legend_in = 0.19 * (named + history.stage.nunique() + 1)
    figure, axes = panels(9.4, 3.5 + legend_in, n_columns=len(CORE_TITLES))
    for axis, (core, models) in zip(axes, by_core.items(), strict=True):
        winner = next(best[best.core == core][["network", "seed"]].itertuples(index=False, name=None), None)
        few = len(models) <= len(LINE_COLORS)
        colors = dict(zip(models, LINE_COLORS, strict=False)) if few else {winner: CNN}
        for model in sorted(models, key=lambda model: model == winner):  # the best on top
            color, marker = (colors[model], ".") if model in colors else (LIGHT, "")
            for stage, of_stage in curves[model].groupby("stage"):
                epochs_done, line = of_stage.epoch - 1, STAGE_LINES[stage % len(STAGE_LINES)]
                axis.plot(
                    epochs_done, of_stage.correlation_before, line, color=color, linewidth=1.5, marker=marker, ms=4
                )
            if model in colors:
                last = curves[model].epoch.max(), kept.get(model, np.nan)
                axis.plot(*last, "*", color=color, markersize=11, markeredgecolor="white", zorder=4)
        handles = _legend(core, {model: color for model, color in colors.items() if model in curves}, winner, history)
        axis.legend(handles=handles, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.17))
        title = f"{CORE_TITLES[core]}: {len(models)} model{'' if len(models) == 1 else 's'}"
        name_axes(axis, title, "epochs trained", "validation correlation (mean over units)")
    limits = [limit for axis in axes for limit in axis.get_ylim()]
    for axis in axes:
        axis.set_ylim(min(0.0, *limits), max(limits))
    return figure


def _legend(core: str, colors: dict[tuple, str], winner: tuple | None, history: pd.DataFrame) -> list[Line2D]:
    handles = []
    for (network, seed), color in colors.items():
        varied = network.removeprefix(core).removeprefix("-").replace("$", r"\$")  # the panel's title names the core
        name = f"{varied}, seed {seed}" if varied else f"seed {seed}"
        handles.append(Line2D([], [], color=color, label=name + (" (best)" if (network, seed) == winner else "")))
    for stage, rate in history.groupby("stage").learning_rate.first().items():
        line = STAGE_LINES[stage % len(STAGE_LINES)]
        handles.append(Line2D([], [], color=GRAY, linestyle=line, label=f"stage {stage + 1}: learning rate {rate:g}"))
    return [*handles, Line2D([], [], color=GRAY, linestyle="", marker="*", markersize=9, label="state that is kept")]


def oracle_slope(oracle: np.ndarray, score: np.ndarray) -> float:
    """Fraction of the oracle: slope of score on oracle through the origin, sum(o s) / sum(o^2); NaN pairs left out."""
    oracle, score = np.asarray(oracle, dtype=float), np.asarray(score, dtype=float)
    both = np.isfinite(oracle) & np.isfinite(score)
    power = (oracle[both] ** 2).sum()
    return float((oracle[both] * score[both]).sum() / power) if power > 0 else np.nan


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
            slope = oracle_slope(selection[x], selection[y])
            axis.plot([0, high], [0, slope * high], color=color, linewidth=2)
            title = f"{slope:.2f} of the oracle (n = {both.sum()})"
        else:
            above = (selection[y] > selection[x])[both].mean() if both.any() else np.nan
            title = f"CNN above in {100 * above:.0f} % (n = {both.sum()})"
        name_axes(axis, title, x_label, y_label)
        axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    return figure
