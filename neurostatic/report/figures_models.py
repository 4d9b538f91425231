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
    figure, axes = panels(9.0, 3.8, n_columns=len(CORE_TITLES))
    lowest, highest = 0.0, 0.0
    for axis, (core, title) in zip(axes, CORE_TITLES.items(), strict=True):
        models = dict.fromkeys(zip(history.network, history.seed, strict=True))
        models = [model for model in models if networks[model[0]]["core"] == core]
        winner = next(iter(best[best.core == core][["network", "seed"]].itertuples(index=False, name=None)), None)
        few = len(models) <= len(LINE_COLORS)
        for i, model in sorted(enumerate(models), key=lambda item: item[1] == winner):  # the best on top
            color = LINE_COLORS[i] if few else (CNN if model == winner else LIGHT)
            rows = history[(history.network == model[0]) & (history.seed == model[1])]
            for stage, of_stage in rows.groupby("stage"):
                line = STAGE_LINES[stage % len(STAGE_LINES)]
                epochs_done = of_stage.epoch - 1
                axis.plot(
                    epochs_done, of_stage.correlation_before, line, color=color, linewidth=1.5, marker=".", markersize=5
                )
            last = kept.get(model, np.nan)
            axis.plot(rows.epoch.max(), last, "*", color=color, markersize=11, markeredgecolor="white", zorder=4)
            values = finite([*rows.correlation_before, last, highest])
            lowest, highest = min(lowest, values.min()), max(highest, values.max())
        axis.legend(handles=_legend(models, winner, few, history), fontsize=8, frameon=False, loc="lower right")
        name_axes(axis, f"{title} ({len(models)} models)", "epochs trained", "validation correlation (mean over units)")
    for axis in axes:
        margin = 0.05 * (highest - lowest) + 0.01
        axis.set_ylim(lowest - margin, highest + margin)
    return figure


def _legend(models: list, winner: tuple | None, few: bool, history: pd.DataFrame) -> list[Line2D]:
    one_network = len({network for network, _ in models}) == 1
    handles = []
    for i, model in enumerate(models if few else [model for model in models if model == winner]):
        name = f"seed {model[1]}" if one_network else f"{model[0]}, seed {model[1]}"
        name = name.replace("$", r"\$") + (" (best)" if model == winner else "")
        handles.append(Line2D([], [], color=LINE_COLORS[i] if few else CNN, label=name))
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
