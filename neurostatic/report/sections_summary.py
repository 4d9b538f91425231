"""The page's first section: what to look at before the results are trusted, and what was found, in short."""

import numpy as np

from neurostatic.closed_loop.agreement import image_slip
from neurostatic.closed_loop.diagonal import pair_of
from neurostatic.report.markup import NONE, bullets, count, number, p_value, paragraph, percent, section, table
from neurostatic.report.outcomes import outcome_of
from neurostatic.report.results import DatasetResult, LoopResult, Results, ScanResult
from neurostatic.report.sections_closed_loop import closed_loop_in_short
from neurostatic.report.sections_data import noiseless_correlations
from neurostatic.report.sections_stimuli import predicted_pairs
from neurostatic.report.style import CONTROL_NAMES, MEI_NAMES, finite, mean, median
from neurostatic.statistics import slope_through_origin

ALIKE_P = 0.05  # above it, that matched cells respond alike is not shown
PREDICTION = ["data set", "units", "oracle", "CNN", "of oracle", "linear", "of oracle", "selected", "noiseless rate"]
PREDICTION_CAPTION = (
    "Oracle: how well repeats of an image predict each other, median over units. CNN, linear: correlation of the best "
    "single seed of each type with single test trials, mean over units, with the pupil and running of each trial; of "
    "oracle: the slope of that against the oracle. Selected: units of which MEIs were made."
)
NOISELESS_CAPTION = " Noiseless rate: what a perfect model would reach, known for the virtual mouse only."


def summary_section(results: Results) -> str:
    """What was found: how well models predict, whether neurons prefer their own images, and of which scans."""
    predicted = [[name, *_dataset_in_short(dataset, results)] for name, dataset in results.datasets.items()]
    if results.ceiling is None:
        header, caption, predicted = PREDICTION[:-1], PREDICTION_CAPTION, [row[:-1] for row in predicted]
    else:
        header, caption = PREDICTION, PREDICTION_CAPTION + NOISELESS_CAPTION
    prediction = table(header, predicted, "How well are neurons predicted?", caption)
    columns = ["scan", "animal-session-scan", "day", "stimuli", "trials kept", "units", "modeled", "selected"]
    rows = [[name, *_scan_in_short(name, scan, results)] for name, scan in results.scans.items()]
    caption = "Units are somata; modeled are those of the wanted area and layer; of the selected ones MEIs were made."
    scans = table(columns, rows, "Scans.", caption)
    return section("summary", "In short", *_doubts(results), prediction, *closed_loop_in_short(results), scans)


def _doubts(results: Results) -> list[str]:
    """What speaks against trusting the results, a line each; nothing if nothing does."""
    found = [line for name, dataset in results.datasets.items() for line in _doubts_about_models(name, dataset)]
    for name, loop in results.loops.items():
        found += _doubts_about_loop(name, loop, results.datasets[loop.dataset])
    return [paragraph("Look at this first:"), bullets(found)] if found else []


def _doubts_about_models(name: str, dataset: DatasetResult) -> list[str]:
    units, found = dataset.selection[["cnn_corr", "lin_corr"]].dropna(), []
    cnn, linear = units.mean()
    if len(units) and not cnn > linear:
        found.append(
            f"{name}: the CNN predicts no better than the linear model (test correlation {number(cnn)} and "
            f"{number(linear)}, mean over {count(len(units), 'unit')}). Its MEIs cannot be expected to say more than "
            "RFs; see Learning curves for whether it was trained to the end."
        )
    for kind, manifest in dataset.stimuli.manifests.items() if dataset.stimuli else ():
        mei, control = predicted_pairs(manifest)
        if len(mei) and (mei > control).mean() < 0.5:
            found.append(
                f"{name}: the CNN itself expects the {CONTROL_NAMES[kind]} to win against the {MEI_NAMES[kind]} in "
                f"{int((mei <= control).sum())} of {count(len(mei), 'unit')}: a day on which {kind} is shown will "
                "hardly show the opposite."
            )
    return found


def _doubts_about_loop(name: str, loop: LoopResult, dataset: DatasetResult) -> list[str]:
    found = []
    for kind in loop.kinds:
        shown_in = [scan for scan, kinds in loop.targets.items() if kind in kinds]
        where = f"{name}, {MEI_NAMES[kind]} against {CONTROL_NAMES[kind]}"
        if not loop.matches.scan.isin(shown_in).any():
            found.append(
                f"{where}: no cell was found again in {' or '.join(shown_in)}. Do their stacks have the names of those "
                "of the source, and are both registered to them, to within 20 µm? See What was left out."
            )
        elif not outcome_of(loop.tests, kind, "normalized", "mei_greater_fraction").n:
            found.append(
                f"{where}: nothing could be compared, as no cell has responses to both. Were both shown in "
                f"{' or '.join(shown_in)}? See What was left out."
            )
        else:
            found += _order_of_images(where, kind, loop, dataset)
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


def _order_of_images(where: str, kind: str, loop: LoopResult, dataset: DatasetResult) -> list[str]:
    """Cells that do not prefer their own MEIs: because another image was shown where theirs is in the log?"""
    own_best = outcome_of(loop.tests, kind, "normalized", "own_best_permutation")
    if not (own_best.p_value >= ALIKE_P and own_best.estimate < 0.5):  # of three cells p is never below
        return []
    told = f"{where}: cells do not prefer their own {MEI_NAMES[kind]} (p = {p_value(own_best.p_value)})"
    if dataset.stimuli is not None:
        owners = dataset.stimuli.manifests[kind].query("owner_scan == @loop.source").owner_unit_id
        matrix = loop.confusion.mu.sel(kind=kind, response="normalized", model_type=pair_of(kind)[0])
        rows, n_cells = image_slip(matrix, list(dict.fromkeys(owners)))
        if rows and 2 * n_cells > own_best.n:
            return [
                f"{told}, but {n_cells} of {own_best.n} respond most to the one {abs(rows)} "
                f"{'further down' if rows > 0 else 'further up'} in manifest.csv. Was the log of shown images counted "
                "from 1, or were the files shown in another order?"
            ]
    if loop.oracle is not None and (loop.oracle.p_value < ALIKE_P).any():
        return [f"{told}, though matched cells respond alike to natural images. Is the log of shown images right?"]
    return []


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
    return [str(n_units), *cells, f"{len(dataset.selected)} of {len(selection)}", ceiling]
