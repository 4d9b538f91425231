"""The page's sections on the recordings, and on how reliable their units are."""

import numpy as np
import pandas as pd

from neurostatic.report.figures_data import examples_figure, oracle_figure
from neurostatic.report.markup import (
    NONE,
    count,
    figure,
    heading,
    number,
    paragraph,
    section,
    sentence,
    table,
)
from neurostatic.report.results import TIERS, DatasetResult, Results, ScanResult
from neurostatic.report.style import finite, mean, median

REPEATING_P = 0.01
DROPPED = {
    "excluded": "marked as excluded",
    "response": "no response: outside the recording, or a flip missing",
    "eye": "pupil not tracked",
    "treadmill": "treadmill not recorded",
    "withheld": "responses withheld",
    "leaking": "picture also in a higher tier",
}


def oracle_in_words(selection: pd.DataFrame) -> str:
    """The oracle's median, with n."""
    n_units = len(finite(selection.oracle))
    return f"oracle median {number(median(selection.oracle))} (n = {count(n_units, 'unit')})"


def noiseless_in_words(noiseless: np.ndarray) -> str:
    """How well the true rate predicts, with n."""
    found = f"{number(mean(noiseless))} (n = {count(len(finite(noiseless)), 'unit')})"
    return f"noiseless rate predicts single trials with a mean correlation of {found}"


def noiseless_correlations(dataset: DatasetResult, results: Results) -> np.ndarray | None:
    """Correlation (unit,) of the noiseless rate of a data set's units with their single trials; None if not known."""
    if results.ceiling is None:
        return None
    ceiling = results.ceiling.drop_duplicates(["scan", "unit_id"])
    ceiling = ceiling[ceiling.scan.isin(dataset.scans)]
    return ceiling.noiseless_correlation.to_numpy() if len(ceiling) else None


def data_section(results: Results) -> str:
    """Trials, tiers, units, example images."""
    scans = results.scans
    parts = [_split_table(scans), _dropped_table(scans), _units_table(scans)]
    for name, dataset in results.datasets.items():
        examples = scans[dataset.scans[0]].examples
        size = " x ".join(map(str, next(iter(examples.values())).shape[1:]))
        caption = (
            f"The first images of each tier of scan {dataset.scans[0]}, at the resolution the models see ({size} px), "
            "black 0 to white 255. Test images were shown repeatedly and serve for the oracle and the test scores."
        )
        parts.append(figure(examples_figure(examples), f"Images of {name}.", caption))
    return section("data", "Data and split", *parts)


def _split_table(scans: dict[str, ScanResult]) -> str:
    tiers = [tier for tier in TIERS if any(tier in scan.trials for scan in scans.values())]
    rows = []
    for name, scan in scans.items():
        kept = sum(scan.trials.values())
        rows.append([name, kept + sum(scan.dropped.values()), kept, *[scan.trials.get(tier, 0) for tier in tiers]])
    caption = (
        "Models are fitted to the training tier, chosen by the validation tier and scored on the test tier (images "
        "shown repeatedly). The tiers of a scan that no model is fitted to are not used."
    )
    return table(["scan", "recorded", "kept", *[tier.replace("_", " ") for tier in tiers]], rows, "Trials.", caption)


def _dropped_table(scans: dict[str, ScanResult]) -> str:
    reasons = [reason for reason in DROPPED if any(reason in scan.dropped for scan in scans.values())]
    rows = [
        [name, *[scan.dropped.get(reason, NONE) for reason in reasons], sum(scan.dropped.values())]
        for name, scan in scans.items()
    ]
    columns = ["scan", *[DROPPED[reason] for reason in reasons], "all"]
    return table(columns, rows, "Trials left out.", "Each is counted at its first reason.")


def _units_table(scans: dict[str, ScanResult]) -> str:
    layers = sorted({layer for scan in scans.values() for layer in scan.units.columns})
    rows = [
        [name, area, *[int(of_area.get(layer, 0)) for layer in layers], int(of_area.sum())]
        for name, scan in scans.items()
        for area, of_area in scan.units.iterrows()
    ]
    return table(["scan", "area", *layers, "all"], rows, "Units by area and layer.", "Somata only.")


def oracle_section(results: Results) -> str:
    """How well repeats predict each other, and where the truth is known, how well anything could."""
    parts = []
    for name, dataset in results.datasets.items():
        noiseless = noiseless_correlations(dataset, results)
        parts += [heading(name)] if len(results.datasets) > 1 else []
        words = oracle_in_words(dataset.selection)
        missing = len(dataset.selection) - len(finite(dataset.selection.oracle))
        words += f"; {count(missing, 'unit')} without an oracle (constant responses)" if missing else ""
        parts.append(paragraph(sentence(words)))
        caption = (
            "Oracle: correlation of single responses to a repeated image with the mean of its other repeats, over all "
            "trials of images shown at least 5 times; modeled units. It measures how reliable a unit is: 0 is noise. "
            "Ceiling: what a model of the noiseless response to the image would reach on single trials, sqrt of the "
            "fraction of explainable variance; units without signal power have none."
        )
        if noiseless is not None:
            parts.append(paragraph(sentence(f"{noiseless_in_words(noiseless)}: the ceiling of any model")))
            caption += (
                " Last: correlation of each unit's noiseless rate, known for the virtual mouse, with all its single "
                "trials (all units; the true effects of pupil, running and gaze are part of the rate). No model of the "
                "single trials can do better on average."
            )
        units = dataset.reliability
        drawn = oracle_figure(units.oracle.to_numpy(), np.sqrt(units.explainable.to_numpy()), noiseless)
        parts.append(figure(drawn, "Reliability.", caption))
        parts.append(_reliability_table(dataset.reliability))
    return section("oracle", "Oracle", *parts)


def _reliability_table(units: pd.DataFrame) -> str:
    """Medians over units of the oracle and of the ceilings, scan by scan."""
    columns = {
        "oracle": "oracle",
        "oracle_spearman": "oracle of ranks",
        "explainable": "explainable fraction",
        "cc_max": "CC max",
    }
    rows = [
        [
            scan,
            len(of_scan),
            f"{of_scan.n_images.iloc[0]} x {of_scan.n_trials.iloc[0] / of_scan.n_images.iloc[0]:.1f}",
            *[number(median(of_scan[name])) for name in columns],
            int((of_scan.p_repeat < REPEATING_P).sum()),
        ]
        for scan, of_scan in units.groupby("scan", sort=False)
    ]
    caption = (
        "Medians over units. CC max: what a perfect model would reach on the mean over repeats (Schoppe et al. 2016). "
        f"Repeating: units whose oracle exceeds that of shuffled trials, p < {REPEATING_P:g} (permutation test)."
    )
    header = ["scan", "units", "images x repeats", *columns.values(), "repeating"]
    return table(header, rows, "Oracle and ceilings.", caption)
