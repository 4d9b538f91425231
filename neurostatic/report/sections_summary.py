"""The page's first section: what to look at before the results are trusted, and what was found, in short."""

import numpy as np

from neurostatic.report.markup import NONE, bullets, count, number, p_value, paragraph, percent, section, table
from neurostatic.report.outcomes import outcome_of
from neurostatic.report.results import DatasetResult, LoopResult, Results, ScanResult
from neurostatic.report.sections_closed_loop import closed_loop_in_short
from neurostatic.report.sections_data import noiseless_correlations
from neurostatic.report.style import CONTROL_NAMES, MEI_NAMES, finite, mean, median
from neurostatic.statistics import slope_through_origin

ALIKE_P = 0.05  # above it, that matched cells respond alike is not shown
PREDICTION = ["data set", "units", "oracle", "CNN", "of oracle", "linear", "of oracle", "noiseless rate", "selected"]
PREDICTION_CAPTION = (
    "Oracle: how well repeats of an image predict each other, median over units. CNN, linear: correlation of the best "
    "single seed of each type with single test trials, mean over units, with the pupil and running of each trial; of "
    "oracle: the slope of that against the oracle. Noiseless rate: what a perfect model would reach, known for the "
    "virtual mouse only. Selected: units of which MEIs were made."
)


def summary_section(results: Results) -> str:
    """What was found: how well models predict, whether neurons prefer their own images, and of which scans."""
    predicted = [[name, *_dataset_in_short(dataset, results)] for name, dataset in results.datasets.items()]
    prediction = table(PREDICTION, predicted, "How well are neurons predicted?", PREDICTION_CAPTION)
    columns = ["scan", "animal-session-scan", "day", "stimuli", "trials kept", "units", "modeled", "selected"]
    rows = [[name, *_scan_in_short(name, scan, results)] for name, scan in results.scans.items()]
    caption = "Units are somata; modeled are those of the wanted area and layer; of the selected ones MEIs were made."
    scans = table(columns, rows, "Scans.", caption)
    return section("summary", "In short", *_doubts(results), prediction, *closed_loop_in_short(results), scans)


def _doubts(results: Results) -> list[str]:
    """What speaks against trusting the results, a line each; nothing if nothing does."""
    found = [line for name, dataset in results.datasets.items() for line in _doubts_about_models(name, dataset)]
    found += [line for name, loop in results.loops.items() for line in _doubts_about_loop(name, loop)]
    return [paragraph("Look at this first:"), bullets(found)] if found else []


def _doubts_about_models(name: str, dataset: DatasetResult) -> list[str]:
    units = dataset.selection[["cnn_corr", "lin_corr"]].dropna()
    cnn, linear = units.mean()
    if not len(units) or cnn > linear:
        return []
    return [
        f"{name}: the CNN predicts no better than the linear model (test correlation {number(cnn)} and "
        f"{number(linear)}, mean over {count(len(units), 'unit')}). Its MEIs cannot be expected to say more than RFs; "
        "see Learning curves for whether it was trained to the end."
    ]


def _doubts_about_loop(name: str, loop: LoopResult) -> list[str]:
    found = [
        f"{name}: {MEI_NAMES[kind]} against {CONTROL_NAMES[kind]} could not be compared, as no cell has responses to "
        f"both. Were both shown in {' or '.join(scan for scan, kinds in loop.targets.items() if kind in kinds)}? See "
        "What was left out."
        for kind in loop.kinds
        if not outcome_of(loop.tests, kind, "normalized", "mei_greater_fraction").n
    ]
    for row in [] if loop.oracle is None else loop.oracle.itertuples():
        if np.isnan(row.p_value):
            found.append(
                f"{name}: {row.scan} was to show whether matched cells respond alike, but has too few of them "
                f"({count(int(row.n_units), 'cell')}, {count(int(row.n_images), 'repeated image')})."
            )
        elif row.p_value >= ALIKE_P:
            found.append(
                f"{name}: to natural images, the cells found again in {row.scan} respond no more like their own units "
                f"than like others (correlation {number(row.own)} and {number(row.other)}, "
                f"p = {p_value(row.p_value)}): the matches may be wrong, and so may be all that rests on them."
            )
    return found


def _scan_in_short(name: str, scan: ScanResult, results: Results) -> list[object]:
    info = scan.attributes
    parts = [str(info[part]) for part in ("animal_id", "session", "scan_idx") if part in info]
    tables = [dataset.selection for dataset in results.datasets.values() if name in dataset.scans]
    modeled = [int((units.scan == name).sum()) for units in tables]
    selected = [int(((units.scan == name) & units.hu_rank.notna()).sum()) for units in tables]
    return [
        "-".join(parts) or NONE,
        info.get("day", NONE),
        info.get("stim_type", NONE),
        sum(scan.trials.values()),
        scan.n_units,
        *(", ".join(map(str, numbers)) or NONE for numbers in (modeled, selected)),
    ]


def _dataset_in_short(dataset: DatasetResult, results: Results) -> list[str]:
    selection, noiseless = dataset.selection, noiseless_correlations(dataset, results)
    cells = [number(median(selection.oracle))]
    for column in ("cnn_corr", "lin_corr"):
        cells.append(number(mean(selection[column])))
        cells.append(percent(slope_through_origin(selection.oracle, selection[column])))
    ceiling = number(np.nan if noiseless is None else mean(noiseless))
    n_units = len(finite(selection.oracle))
    return [str(n_units), *cells, ceiling, f"{len(dataset.selected)} of {len(selection)}"]
