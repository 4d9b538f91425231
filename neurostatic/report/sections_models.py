"""The page's sections on models, MEIs and stimuli."""

import numpy as np

from neurostatic.report.figures_models import CORE_TITLES, learning_figure, oracle_slope, scores_figure
from neurostatic.report.figures_stimuli import (
    MAX_GALLERY_UNITS,
    calibration_figure,
    gallery_figure,
    gray_limit,
    quality_figure,
    tuning_figure,
)
from neurostatic.report.markup import NONE, count, figure, heading, number, paragraph, section, sentence, table
from neurostatic.report.results import DatasetResult, Results
from neurostatic.report.style import finite


def models_section(results: Results) -> str:
    """Learning curves, scores of every network, scores of the best models against the oracle."""
    parts = []
    for name, dataset in results.datasets.items():
        parts += [heading(name)] if len(results.datasets) > 1 else []
        caption = (
            "Correlation of predicted and measured single trials of the validation tier, mean over units, before each "
            "epoch. Line style: stage (each with its own learning rate; a stage begins from the best state so far). "
            "Star: the state that is kept. Of many models only the best is in color."
        )
        drawing = learning_figure(dataset.history, dataset.scores, dataset.best, dataset.networks)
        parts += [figure(drawing, "Learning curves.", caption), _networks_table(dataset)]
        fractions = [
            f"{model} {number(oracle_slope(dataset.selection.oracle, dataset.selection[column]))}"
            for model, column in (("CNN", "cnn_corr"), ("linear model", "lin_corr"))
        ]
        parts.append(paragraph(sentence(f"fraction of the oracle: {', '.join(fractions)}")))
        caption = (
            "A point is a unit: test correlation of the best model of each kind against the oracle. Colored line: "
            "fraction of the oracle, the slope through the origin; dashed: equality. A model may exceed the oracle, "
            "because it knows pupil and running. Black rings: units selected for MEIs."
        )
        parts.append(figure(scores_figure(dataset.selection), "Prediction against reliability.", caption))
    return section("models", "Models", *parts)


def _networks_table(dataset: DatasetResult) -> str:
    rows = []
    for network, parameters in dataset.networks.items():
        scores = dataset.scores[dataset.scores.network == network]
        row = [CORE_TITLES[parameters["core"]], network, scores.seed.nunique()]
        for tier in ("validation", "test"):
            of_seeds = finite(scores[scores.tier == tier].groupby("seed").pearson.mean())
            spread = f"{of_seeds.mean():.3f} ({of_seeds.min():.3f} to {of_seeds.max():.3f})" if len(of_seeds) else NONE
            row.append(spread)
        best = dataset.best[dataset.best.network == network]
        rows.append([*row, ", ".join(map(str, best.seed)) or NONE])
    columns = ["model", "network", "seeds", "validation: mean (range over seeds)", "test: mean (range)", "best seed"]
    caption = (
        "Correlation with single trials, mean over units. Best seed: the highest validation correlation of all "
        "networks of this kind; its scores are compared with the oracle, and all seeds of its network make the MEIs."
    )
    return table(columns, rows, "Networks.", caption)


def meis_section(results: Results) -> str:
    """Gallery of MEIs and RFs, contrast tuning."""
    parts = []
    for name, dataset in results.datasets.items():
        parts += [heading(name)] if len(results.datasets) > 1 else []
        parts.append(paragraph(_meis_in_words(dataset)))
        limit = gray_limit(dataset.cnn.mei.values, dataset.linear.mei.values)
        caption = (
            "For each unit, left: most exciting image (MEI) of the CNN with the outline of its tight mask (orange, "
            "where the mask is 0.5); right: receptive field (RF), the most exciting image of the linear model. "
            "Numbers: response that the image's own model predicts (SD of the unit's responses). All images share one "
            f"gray scale: mid gray is the image's own mean, black and white are {limit:.0f} px (of 0-255) below and "
            "above it."
        )
        gallery = gallery_figure(dataset.selected, dataset.cnn, dataset.linear, dataset.masks)
        parts.append(figure(gallery, "Most exciting images.", caption))
        caption = (
            "A line is a unit: response predicted by the image's own model as the image is scaled around its mean, "
            "from almost no contrast up to the point where pixels would leave 0-255. Dot: the image as made (its "
            "pixels clipped at 0 or 255 may take it off the line). Gray dashed: not monotonic."
        )
        parts.append(figure(tuning_figure(dataset.cnn, dataset.linear), "Contrast tuning.", caption))
    return section("meis", "Most exciting images", *parts)


def _meis_in_words(dataset: DatasetResult) -> str:
    n_selected = len(dataset.selected)
    failed = [int((store.failed.values != "").sum()) for store in (dataset.cnn, dataset.linear)]
    ratio = finite(dataset.masks.reduction_ratio)
    words = f"{count(n_selected, 'unit')} selected, "
    words += "all shown" if n_selected <= MAX_GALLERY_UNITS else f"the first {MAX_GALLERY_UNITS} shown"
    words += " in the order of selection (by the gain of the CNN over the linear model). "
    if any(failed):
        words += f"{count(failed[0], 'MEI')} and {count(failed[1], 'RF')} could not be made. "
    if len(ratio):
        words += f"{count(len(ratio), 'tight mask')}, which keep a median of {np.median(ratio):.3f} of the response."
    return words.strip()


def stimuli_section(results: Results) -> str:
    """Monitor calibration and what the stimuli look like in cd/m2."""
    parts = []
    for name, dataset in results.datasets.items():
        if dataset.stimuli is None:
            parts.append(paragraph(f"Left out for {name}: no closed loop uses it, so no stimulus set was made."))
        else:
            parts += [heading(name)] if len(results.datasets) > 1 else []
            parts += _stimuli(dataset)
    return section("stimuli", "Stimuli", *parts)


def _stimuli(dataset: DatasetResult) -> list[str]:
    stimuli, options = dataset.stimuli, dataset.configs["make_stimuli"]["stimuli"]
    mean, contrast = options["mean_cd_m2"], options["contrast_cd_m2"]
    fit = stimuli.fit[stimuli.fit.chosen].iloc[0]
    law = f"luminance = {fit.amplitude:.3g} · pixel^{fit.gamma:.3f} + {fit.offset:.3f} cd/m²"
    calibration_caption = (
        f"Measured table nearest in time to the scan ({fit.timestamp}) and its power law, {law} (mean squared "
        f"error {fit.mse:.2g}). The stimuli were converted with the table itself, by monotone interpolation."
    )
    qc = stimuli.qc
    words = (
        f"{count(len(qc), 'image')} of {count(stimuli.manifest.owner_unit_id.nunique(), 'unit')}; {int(qc.ok.sum())} "
        f"within 5 % of mean {mean:g} cd/m² and contrast {contrast:g} cd/m²; "
        f"{count(int((qc.clipped_fraction > 0).sum()), 'image')} with clipped pixels, at most "
        f"{100 * qc.clipped_fraction.max():.2f} % of an image."
    )
    quality_caption = (
        "A point is one stimulus as the monitor shows it, after rounding to 8 bits: blue circles MEIs, orange "
        "triangles RFs (the pair of a unit shares its image id). Line and gray band: target ± 5 %. Right: share of "
        "pixels at 0 or 255."
    )
    return [
        figure(
            calibration_figure(stimuli.calibration, fit, mean, contrast), "Monitor calibration.", calibration_caption
        ),
        paragraph(words),
        figure(quality_figure(qc, mean, contrast), "Luminance and contrast of the stimuli.", quality_caption),
    ]
