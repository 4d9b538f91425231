"""The page's sections on the closed loop and on the truth of the virtual mouse."""

import numpy as np
import pandas as pd

from neurostatic.report.figures_closed_loop import (
    confusion_figure,
    diagonal_figure,
    match_figure,
    recovery_figure,
)
from neurostatic.report.markup import (
    NONE,
    count,
    figure,
    heading,
    number,
    p_value,
    paragraph,
    percent,
    section,
    sentence,
    table,
)
from neurostatic.report.results import DatasetResult, LoopResult, Results
from neurostatic.report.style import finite

RESPONSES = ("normalized", "zscore")
RESPONSE_NAMES = {"normalized": "normalized", "zscore": "z-scored"}
SCALES = {
    "normalized": "Responses of each cell are divided by its standard deviation over all trials of the scan",
    "zscore": "From each cell its mean over all trials of the scan is taken off, then it is divided by its standard "
    "deviation",
}
# test: what it asks, and how its statistic is written
TESTS = {
    "diagonal_permutation": (
        "Does each cell respond to its own MEI more than chance would have it? Trace of the MEI confusion matrix "
        "(statistic) against matrices whose rows, the images, are shuffled among the cells; one-sided.",
        ".2f",
    ),
    "diagonal_dominance": (
        "How much more? Mean response to the own MEI minus mean response to the MEIs of the other cells (SD).",
        ".3f",
    ),
    "diagonal_argmax_fraction": ("Fraction of cells that respond more to their own MEI than to any other MEI.", ".3f"),
    "cnn_vs_linear_wilcoxon": (
        "Do cells respond differently to their own MEI and their own linear RF? Wilcoxon signed-rank test over cells "
        "(statistic: the smaller rank sum); two-sided.",
        ".1f",
    ),
    "cnn_greater_fraction": ("Fraction of cells that respond more to their MEI than to their RF.", ".3f"),
    "ratio_of_means": ("Mean response to the own MEI over mean response to the own RF.", ".3f"),
    "welch_cnn_greater_p05": ("Cells that respond more to their MEI: Welch's t test over trials, p < 0.05.", ".0f"),
    "welch_linear_greater_p05": ("Cells that respond more to their RF: Welch's t test over trials, p < 0.05.", ".0f"),
}

CORRECTED = {"welch_cnn_greater_p05": 0, "welch_linear_greater_p05": 1}  # place in `significant_cells`


def result_of(tests: pd.DataFrame, response: str, test: str) -> tuple[float, float, int]:
    """statistic, p_value, n of one test; NaN, NaN, 0 if it was not made."""
    row = tests[(tests.response == response) & (tests.test == test)]
    if row.empty:
        return np.nan, np.nan, 0
    return float(row.statistic.iloc[0]), float(row.p_value.iloc[0]), int(row.n.iloc[0])


def significant_cells(diagonal: pd.DataFrame, response: str) -> tuple[int, int]:
    """Cells with q < 0.05 that prefer their MEI, and that prefer their RF."""
    rows = diagonal[(diagonal.response == response) & (diagonal.q_value < 0.05)]
    return int((rows.diff_resp > 0).sum()), int((rows.diff_resp < 0).sum())


def loop_in_short(name: str, loop: LoopResult, dataset: DatasetResult) -> str:
    """A loop's result in one sentence."""
    _, p_diagonal, n = result_of(loop.tests, "normalized", "diagonal_permutation")
    own_best, *_ = result_of(loop.tests, "normalized", "diagonal_argmax_fraction")
    above, _, n_pairs = result_of(loop.tests, "normalized", "cnn_greater_fraction")
    _, p_wilcoxon, _ = result_of(loop.tests, "normalized", "cnn_vs_linear_wilcoxon")
    more, less = significant_cells(loop.diagonal, "normalized")
    chance = f" (chance {percent(1 / n)})" if n else ""
    return (
        f"{name}: {matched_in_words(loop, dataset)}; {percent(own_best)} of {count(n, 'cell')} respond most to their "
        f"own MEI{chance}, permutation test of the diagonal p = {p_value(p_diagonal)}; {percent(above)} of "
        f"{count(n_pairs, 'cell')} respond more to their MEI than to their linear RF, Wilcoxon p = "
        f"{p_value(p_wilcoxon)}; after correction for many tests (q < 0.05) {more} prefer the MEI and {less} the RF."
    )


def matched_in_words(loop: LoopResult, dataset: DatasetResult) -> str:
    """How many of the units whose images were shown were found again."""
    found = loop.matches.src_unit_id.nunique()
    if dataset.stimuli is None:
        return f"{count(found, 'unit')} found again"
    manifest = dataset.stimuli.manifest
    shown = manifest.owner_unit_id[manifest.owner_scan == loop.source].nunique()
    return f"{found} of {count(shown, 'unit')} with a stimulus found again"


def closed_loop_section(results: Results) -> str:
    """Matches, confusion matrices, their diagonal and their tests, for each loop."""
    parts = []
    for name, loop in results.loops.items():
        parts.append(heading(f"{name}: stimuli made from {loop.source}, shown in {', '.join(loop.targets)}"))
        parts += _matches(loop, results.datasets[loop.dataset])
        for response in RESPONSES:
            caption = (
                "A row is an image, a column a cell; both axes list the same units, by descending difference between "
                "the response to the own MEI and to the own RF, so that each cell's own image lies on the diagonal. "
                "Left: images are MEIs of the CNN; right: RFs of the linear model; one color scale. "
                f"{SCALES[response]}; mean over trials. Light gray: no value."
            )
            drawing = confusion_figure(loop.confusion, loop.diagonal, response)
            parts.append(figure(drawing, f"Confusion matrices, {RESPONSE_NAMES[response]} responses.", caption))
        parts += [*_diagonal(loop), _tests(loop)]
    if not results.loops:
        parts.append(paragraph("Left out: no closed loop is configured, so no stimuli were shown again."))
    return section("closed-loop", "Closed loop", *parts)


def _matches(loop: LoopResult, dataset: DatasetResult) -> list[str]:
    matches = loop.matches
    distance = finite(matches.mean_distance_um)
    shared = count(int((matches.shared > 1).sum()), "match", "matches")
    limit = loop.configs["match_cells"]["matching"]["max_distance_um"]
    words = (
        f"{matched_in_words(loop, dataset)}; median distance "
        f"{number(np.median(distance) if len(distance) else np.nan, '.1f')} µm; {shared} shared with another unit; "
        + (f"cells farther than {limit:g} µm count as lost" if np.isfinite(limit) else "no limit of distance")
    )
    caption = (
        "Left: distance between a unit of the source scan and the cell it was matched to, mean over the stacks that "
        "voted for it. Right: in how many of the structural stacks that cell was the nearest one."
    )
    return [paragraph(sentence(words)), figure(match_figure(matches), "Cell matching.", caption)]


def _diagonal(loop: LoopResult) -> list[str]:
    normalized = loop.diagonal[loop.diagonal.response == "normalized"]
    more, less = significant_cells(loop.diagonal, "normalized")
    n_trials = [*normalized.cnn_n.dropna(), *normalized.rf_n.dropna()]
    trials = f"{min(n_trials):.0f} to {max(n_trials):.0f} trials an image" if n_trials else "no trials"
    words = (
        f"Of {count(int(normalized.p_value.notna().sum()), 'cell')} tested, {more} respond significantly more to their "
        f"MEI than to their RF and {less} significantly less, after Benjamini-Hochberg correction (q < 0.05)."
    )
    caption = (
        "A point is a cell: mean normalized response to the MEI and to the RF that were made for it, ± standard error "
        f"of the mean ({trials}). Dashed: no difference. Color: Welch's t test of that cell, uncorrected; black ring: "
        "still significant after correction."
    )
    return [figure(diagonal_figure(normalized), "Own MEI against own RF.", caption), paragraph(words)]


def _tests(loop: LoopResult) -> str:
    rows = []
    significant = [significant_cells(loop.diagonal, response) for response in RESPONSES]
    for test in dict.fromkeys([*TESTS, *loop.tests.test]):
        question, form = TESTS.get(test, ("", ".3g"))
        found = [result_of(loop.tests, response, test) for response in RESPONSES]
        values = [text for statistic, p, _ in found for text in (number(statistic, form), p_value(p))]
        n = ", ".join(dict.fromkeys(str(n) for *_, n in found if n)) or NONE
        rows.append([test, question, *values, n])
        if test in CORRECTED:
            values = [value for counts in significant for value in (counts[CORRECTED[test]], NONE)]
            question = (
                "Of these, still significant when corrected for the number of cells: Benjamini-Hochberg q < 0.05."
            )
            rows.append([test.replace("_p05", "_q05"), question, *values, n])
    options = loop.configs["summarize_confusion"]["statistics"]
    caption = (
        f"n: cells. Rows without p describe and do not test. {options['n_permutations']} permutations (seed "
        f"{options['seed']}). The ratio of means has no meaning for z scores, whose zero is arbitrary."
    )
    columns = ["test", "what it asks", "normalized", "p", "z-scored", "p", "n"]
    return table(columns, rows, "Tests.", caption)


def truth_section(results: Results) -> str:
    """What was found against what is true, where it is known."""
    recovery = results.recovery
    if recovery is None:
        words = "Left out: there is no closed loop of the virtual mouse, and of real cells the truth is not known."
        return section("truth", "Comparison with the truth", paragraph(words))
    correct = finite(recovery.match_correct)
    words = (
        f"Median true drive, relative to the cell's true MEI: MEI {_median(recovery.mei_drive_ratio)}, "
        f"RF {_median(recovery.rf_drive_ratio)}. Matches that are the right cell: "
        f"{percent(correct.mean() if len(correct) else np.nan)} (n = {count(len(correct), 'unit')})."
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
        matched = f"{percent(right.mean() if len(right) else np.nan)} (n = {len(right)})"
        rows.append([str(kind).replace("_", " "), *medians, matched])
    columns = ["kind of cell", "MEI drive ratio", "RF drive ratio", "oracle", "matches right"]
    parts = [
        paragraph(words),
        figure(recovery_figure(recovery), "True drive of what was found.", caption),
        table(columns, rows, "By kind of cell.", "Medians over the selected units, and the share of right matches."),
    ]
    return section("truth", "Comparison with the truth", *parts)


def _median(values: pd.Series) -> str:
    values = finite(values)
    return f"{number(np.median(values) if len(values) else np.nan)} (n = {len(values)})"
