"""The page's section on models."""

import numpy as np
import pandas as pd

from neurostatic.report.figures_models import TYPE_TITLES, learning_figure, scores_figure
from neurostatic.report.markup import NONE, count, figure, heading, number, paragraph, percent, section, sentence, table
from neurostatic.report.methods import BEST_MODELS
from neurostatic.report.results import DatasetResult, Results
from neurostatic.report.style import finite
from neurostatic.statistics import slope_through_origin

SCORES = ("cc_abs", "cc_norm", "feve", "fraction_oracle")


def models_section(results: Results) -> str:
    """Learning curves, scores of every network and of its ensemble, scores of the best models against the oracle."""
    parts = []
    for name, dataset in results.datasets.items():
        parts += [heading(name)] if len(results.datasets) > 1 else []
        caption = (
            "Correlation of predicted and measured single trials of the validation tier, mean over units, before each "
            "epoch. Line style: stage (each with its own learning rate; a stage begins from the best state so far). "
            "Star: the state that is kept. Of many models only the best is in color."
        )
        drawing = learning_figure(dataset.history, dataset.scores, dataset.best, dataset.networks)
        caption += _cut_off(dataset)
        parts += [figure(drawing, "Learning curves.", caption), _networks_table(dataset), _test_table(dataset)]
        fractions = [
            f"{model} {number(slope_through_origin(dataset.selection.oracle, dataset.selection[column]))}"
            for model, column in (("CNN", "cnn_corr"), ("linear model", "lin_corr"))
        ]
        parts.append(paragraph(sentence(f"fraction of the oracle: {', '.join(fractions)}")))
        caption = (
            "A point is a unit: test correlation of the best model of each kind against the oracle. Colored line: "
            "fraction of the oracle, the slope through the origin; dashed: equality. A model may exceed the oracle, "
            "because it knows pupil and running. Black rings: units selected for MEIs."
        )
        parts.append(figure(scores_figure(dataset.selection), "Prediction against reliability.", caption))
        parts.append(_selection_table(dataset))
    return section("models", "Models", *parts)


def _selection_table(dataset: DatasetResult) -> str:
    """How many units each step of the selection left out."""
    if dataset.selected.empty:
        return paragraph("No unit passed the selection (see the log of select_units): MEIs are of all units.")
    of = dataset.configs["select_units"]["selection"]
    steps = {
        "oracle": (f"oracle among the top {percent(of['top_fraction'])}, and above 0", "top_fraction"),
        "edge": (f"at least {of['edge_um']:g} µm from the edge of the field", "edge_um"),
        "score": ("a test score of both models", ""),
        "percentile": (f"both fractions of the oracle above percentile {of['percentile']:g}", "percentile"),
        "distance": (f"{of['distance_um']:g} µm or more from a unit chosen before", "distance_um"),
    }
    left, rows = len(dataset.selection), []
    for step, (words, key) in steps.items():
        out = int((dataset.selection.left_out == step).sum())
        left -= out
        rows.append([words, f"selection.{key}" if key else NONE, out, left])
    caption = (
        f"Of {count(len(dataset.selection), 'unit')}, step by step. The fractions are of the best single seed of each "
        "type (above); a unit that it misses, and other seeds predict, is left out."
    )
    return table(["asked for", "key", "left out", "left"], rows, "How units were selected.", caption)


def _cut_off(dataset: DatasetResult) -> str:
    """How many trainings were ended by `training.max_epochs`, and not because they got no better."""
    longest = dataset.configs["train_model"]["training"]["max_epochs"]
    epochs = dataset.history.groupby(["network", "seed"]).epoch.max()
    n_cut = int((epochs >= longest).sum())
    if not n_cut:
        return ""
    return f" {n_cut} of {count(len(epochs), 'model')} were ended by training.max_epochs = {longest}."


def _networks_table(dataset: DatasetResult) -> str:
    rows = []
    for network, built_of in dataset.networks.items():
        scores = dataset.scores[dataset.scores.network == network]
        row = [TYPE_TITLES[built_of.model_type], network, _seeds_in_words(dataset, network)]
        for tier in ("validation", "test"):
            of_seeds = finite(scores[scores.tier == tier].groupby("seed").pearson.mean())
            mean = number(of_seeds.mean()) if len(of_seeds) else NONE
            row.append(f"{mean} ({_range(of_seeds)})" if len(of_seeds) > 1 else mean)
        best = dataset.best[dataset.best.network == network]
        rows.append([*row, ", ".join(map(str, best.seed)) or NONE])
    columns = ["model", "network", "seeds", "validation (range)", "test (range)", "best seed"]
    rule = BEST_MODELS[dataset.configs["select_units"]["selection"]["best_model"]]
    caption = (
        "Correlation with single trials, mean over units: its mean over the seeds that gave a model, and its range. "
        f"Best seed: of the models of this type {rule}; its scores are compared with the oracle, and all seeds of its "
        "network make the MEIs."
    )
    return table(columns, rows, "Networks.", caption)


def _seeds_in_words(dataset: DatasetResult, network: str) -> str:
    failed = dataset.failed_seeds(network)
    n_models = len(dataset.seeds) - len(failed)
    if not failed:
        return str(n_models)
    if not n_models:
        return "no model (see the logs)"
    logs = "log of seed" if len(failed) == 1 else "logs of seeds"
    return f"{n_models} ({len(failed)} failed, see the {logs} {', '.join(map(str, failed))})"


def _range(values: np.ndarray) -> str:
    """From the least to the greatest; a single value as it is."""
    ends = (values.min(), values.max()) if len(values) > 1 else values
    return " to ".join(map(number, ends)) or NONE


def _test_table(dataset: DatasetResult) -> str:
    """A row a network (and scan), in it a line with the eye and behavior of each trial and one with these frozen."""
    several_scans = dataset.evaluation.scan.nunique() > 1
    rows = []
    for (scan, network), scores in dataset.evaluation.groupby(["scan", "network"], sort=False):
        lines = [_test_line(state, of_state) for state, of_state in scores.groupby("state", sort=False)]
        together = scores[scores.seed == "ensemble"]
        n_models = len(dataset.seeds) - len(dataset.failed_seeds(network))
        named = [network, *([scan] if several_scans else []), n_models, int(together.n_units.max())]
        rows.append([*named, *["\n".join(cells) for cells in zip(*lines, strict=True)]])
    columns = [
        "network", *(["scan"] if several_scans else []), "seeds", "units", "state", "correlation", "single seeds",
        "CC abs", "CC norm", "FEVE", "of oracle",
    ]  # fmt: skip
    caption = (
        "Means over units; the seeds of a network predict together, by the mean of their predictions. Per trial: with "
        "the eye and behavior of each trial; frozen: both at their means over the training trials, which is fair to "
        "the oracle, as that knows neither. Correlation: with single trials; single seeds: its range if each predicts "
        "alone. CC abs: correlation of prediction and response, both averaged over the repeats of an image. CC norm: "
        "CC abs over CC max, the highest possible one. FEVE: fraction of the explainable variance that is explained, "
        "0 for the best constant, less for worse. For both, 1 is perfect, and units without signal power have none. Of "
        "oracle: fraction of the oracle, the slope through the origin of correlation against oracle."
    )
    return table(columns, rows, "Test scores.", caption)


def _test_line(state: str, scores: pd.DataFrame) -> list[str]:
    """Scores of an ensemble, and the range of its seeds' correlations."""
    together = scores[scores.seed == "ensemble"].iloc[0]
    alone = finite(scores.pearson[scores.seed != "ensemble"])
    return [state, number(together.pearson), _range(alone), *[number(together[name]) for name in SCORES]]
