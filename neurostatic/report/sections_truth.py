"""The page's section on the truth: what was found and measured against what the virtual mouse knows."""

import numpy as np
import pandas as pd

from neurostatic.config import STIMULUS_SETS
from neurostatic.report.figures_truth import recovery_figure, truth_figure
from neurostatic.report.markup import capital, count, figure, number, p_value, paragraph, percent, section, table
from neurostatic.report.results import Results
from neurostatic.report.style import CONTROL_NAMES, MEI_NAMES, finite, mean, median
from neurostatic.statistics import compare_pairs

LINEAR_KINDS = ("linear", "simple")  # of cells: a single filter
NO_CELL = "no cell"
KEYS = ["scan", "unit_id", "stimulus_set"]


def truth_section(results: Results) -> str:
    """What was found against what is true, where it is known."""
    recovery, true_stimuli = results.recovery, results.true_stimuli
    if recovery is None or true_stimuli is None:
        words = "Left out: there is no closed loop of the virtual mouse, and of real cells the truth is not known."
        return section("truth", "Comparison with the truth", paragraph(words))
    correct = finite(recovery.match_correct)
    words = (
        f"Median true drive, relative to the cell's true MEI: MEI {_median(recovery.mei_drive_ratio)}, "
        f"RF {_median(recovery.rf_drive_ratio)}. Matches that are the right cell: "
        f"{percent(mean(correct))} (n = {count(len(correct), 'unit')})."
    )
    caption = (
        "The virtual mouse knows which image really drives each cell most. Ratio: noiseless response, above that to "
        "gray, to the image that was found, over that to the true MEI, all at one mean and contrast: 1 is as good as "
        "the truth, 0 as good as gray. Left: by kind of cell; a point is a selected unit. Right: the same ratios of "
        "MEI and RF of each unit; dashed: equality."
    )
    rows = []
    for kind, units in recovery.groupby("kind"):
        right = finite(units.match_correct)
        medians = [_median(units[column]) for column in ("mei_drive_ratio", "rf_drive_ratio", "oracle")]
        matched = f"{percent(mean(right))} (n = {len(right)})"
        rows.append([str(kind).replace("_", " "), *medians, matched])
    columns = ["kind of cell", "MEI drive ratio", "RF drive ratio", "oracle", "matches right"]
    parts = [
        paragraph(words),
        figure(recovery_figure(recovery), "True drive of what was found.", caption),
        table(columns, rows, "By kind of cell.", "Medians over the selected units, and the share of right matches."),
        *_against_controls(true_stimuli, _measured(results)),
    ]
    return section("truth", "Comparison with the truth", *parts)


def _measured(results: Results) -> pd.DataFrame:
    """Diagonals with the scan that the cells are of; of several loops those of all together, a cell once."""
    if results.population is not None:
        return results.population.diagonal.rename(columns={"source": "scan"})
    return pd.concat([loop.diagonal.assign(scan=loop.source) for loop in results.loops.values()])


def _against_controls(true_stimuli: pd.DataFrame, diagonal: pd.DataFrame) -> list[str]:
    """Do cells prefer their MEI over each control: as the loops measured it, and in truth."""
    true = true_stimuli.drop_duplicates(KEYS)
    true = true.assign(group=[_group(kind) for kind in true.kind])
    diagonal = diagonal[diagonal.response == "normalized"].rename(columns={"kind": KEYS[2]})
    measured = diagonal.merge(true[[*KEYS, "group"]], on=KEYS)
    rows = []
    for kind in [kind for kind in STIMULUS_SETS if (true.stimulus_set == kind).any()]:
        for group in ("all", "nonlinear", "linear"):
            seen, known = (
                cells[(cells.stimulus_set == kind) & ((cells.group == group) | (group == "all"))]
                for cells in (measured, true)
            )
            n_seen, fraction_seen, _, p_seen = compare_pairs(seen.mei_resp, seen.control_resp)
            n_known, fraction_known, _, p_known = compare_pairs(known.true_mei, known.true_control)
            ratio = (known.true_mei / known.true_control).dropna()  # infinite where the control evokes nothing
            cells = [
                n_seen, percent(fraction_seen), p_value(p_seen), n_known, percent(fraction_known),
                number(np.median(ratio) if len(ratio) else np.nan, ".2f"), p_value(p_known),
            ]  # fmt: skip
            rows.append([capital(f"{MEI_NAMES[kind]} against {CONTROL_NAMES[kind]}"), group, *cells])
    columns = [
        "stimulus set", "cells", "measured: n", "MEI > control", "p", "true: n", "MEI > control", "median ratio", "p"
    ]  # fmt: skip
    caption = (
        "Measured: matched cells on the later days, mean normalized response to their own two images. True: noiseless "
        "response of each cell of the source scan to its own two images, as they were shown. MEI > control: share of "
        "cells that respond more to their MEI. Median ratio: true response to the MEI over that to the control. p: "
        "Wilcoxon signed-rank test over these cells, two-sided. Linear cells (kinds linear and simple) have a single "
        "filter, which a linear model can find; nonlinear are all other kinds."
    )
    drawn_caption = (
        "A point is a cell of the source scan: its noiseless response to the centered MEI that was shown, against that "
        "to the control, both at one mean and contrast on the monitor; natural images evoke 1 on average. Dashed: "
        "equality; above it the cell prefers its MEI. All but the curved cells of the virtual mouse are built on one "
        "Gabor each, so that a Gabor can be nearly the best image for them; no Gabor is a curve."
    )
    return [
        table(columns, rows, "MEI against each control, measured and true.", caption),
        figure(truth_figure(true), "True response to the shown images.", drawn_caption),
    ]


def _group(kind: str) -> str:
    if kind == NO_CELL:
        return ""
    return "linear" if kind in LINEAR_KINDS else "nonlinear"


def _median(values: pd.Series) -> str:
    return f"{number(median(values))} (n = {len(finite(values))})"
