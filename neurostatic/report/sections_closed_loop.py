"""The page's section on the closed loop."""

import numpy as np
import pandas as pd

from neurostatic.report.figures_closed_loop import (
    CONTROL_NAMES,
    MEI_NAMES,
    confusion_figure,
    diagonal_figure,
    match_figure,
)
from neurostatic.report.markup import (
    NONE,
    capital,
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
# test: what it asks, of {mei} and {control}, and how its statistic is written
TESTS = {
    "diagonal_permutation": (
        "Does each cell respond to its own {mei} more than chance would have it? Trace of the confusion matrix of "
        "{mei}s (statistic) against matrices whose rows, the images, are shuffled among the cells; one-sided.",
        ".2f",
    ),
    "diagonal_dominance": (
        "How much more? Mean response to the own {mei} minus mean response to those of the other cells (SD).",
        ".3f",
    ),
    "diagonal_argmax_fraction": (
        "Fraction of cells that respond more to their own {mei} than to that of any other cell.",
        ".3f",
    ),
    "mei_vs_control_wilcoxon": (
        "Do cells respond differently to their own {mei} and their own {control}? Wilcoxon signed-rank test over cells "
        "(statistic: the smaller rank sum); two-sided.",
        ".1f",
    ),
    "mei_greater_fraction": ("Fraction of cells that respond more to their {mei} than to their {control}.", ".3f"),
    "ratio_of_means": ("Mean response to the own {mei} over mean response to the own {control}.", ".3f"),
    "welch_mei_greater_p05": ("Cells that respond more to their {mei}: Welch's t test over trials, p < 0.05.", ".0f"),
    "welch_control_greater_p05": (
        "Cells that respond more to their {control}: Welch's t test over trials, p < 0.05.",
        ".0f",
    ),
}

CORRECTED = {"welch_mei_greater_p05": 0, "welch_control_greater_p05": 1}  # place in `significant_cells`


def result_of(tests: pd.DataFrame, kind: str, response: str, test: str) -> tuple[float, float, int]:
    """statistic, p_value, n of one test; NaN, NaN, 0 if it was not made."""
    row = tests[(tests.kind == kind) & (tests.response == response) & (tests.test == test)]
    if row.empty:
        return np.nan, np.nan, 0
    return float(row.statistic.iloc[0]), float(row.p_value.iloc[0]), int(row.n.iloc[0])


def significant_cells(diagonal: pd.DataFrame, kind: str, response: str) -> tuple[int, int]:
    """Cells with q < 0.05 that prefer their MEI, and that prefer their control."""
    rows = diagonal[(diagonal.kind == kind) & (diagonal.response == response) & (diagonal.q_value < 0.05)]
    return int((rows.diff_resp > 0).sum()), int((rows.diff_resp < 0).sum())


def loop_in_short(name: str, loop: LoopResult, dataset: DatasetResult) -> list[str]:
    """A loop's result: a sentence on its cells, and one for each stimulus set."""
    lines = [f"{name}: {matched_in_words(loop, dataset)}."]
    for kind in loop.kinds:
        mei, control = MEI_NAMES[kind], CONTROL_NAMES[kind]
        _, p_diagonal, n = result_of(loop.tests, kind, "normalized", "diagonal_permutation")
        own_best, *_ = result_of(loop.tests, kind, "normalized", "diagonal_argmax_fraction")
        above, _, n_pairs = result_of(loop.tests, kind, "normalized", "mei_greater_fraction")
        _, p_wilcoxon, _ = result_of(loop.tests, kind, "normalized", "mei_vs_control_wilcoxon")
        more, less = significant_cells(loop.diagonal, kind, "normalized")
        chance = f" (chance {percent(1 / n)})" if n else ""
        lines.append(
            f"{name}, {mei} against {control}: {percent(above)} of {count(n_pairs, 'cell')} respond more to their "
            f"{mei} than to their {control}, Wilcoxon p = {p_value(p_wilcoxon)}; after correction for many tests "
            f"(q < 0.05) {more} prefer the {mei} and {less} the {control}. {percent(own_best)} of {count(n, 'cell')} "
            f"respond most to their own {mei}{chance}, permutation test of the diagonal p = {p_value(p_diagonal)}."
        )
    return lines


def matched_in_words(loop: LoopResult, dataset: DatasetResult) -> str:
    """How many of the units whose images were shown were found again."""
    found = loop.matches.src_unit_id.nunique()
    if dataset.stimuli is None:
        return f"{count(found, 'unit')} found again"
    manifests = pd.concat([dataset.stimuli.manifests[kind] for kind in loop.kinds])
    shown = manifests.owner_unit_id[manifests.owner_scan == loop.source].nunique()
    later = f" in at least one of {len(loop.targets)} scans" if len(loop.targets) > 1 else ""
    return f"{found} of {count(shown, 'unit')} with a stimulus found again{later}"


def closed_loop_section(results: Results) -> str:
    """Matches, confusion matrices, their diagonal and their tests, for each loop."""
    parts = []
    for name, loop in results.loops.items():
        shown = ", ".join(
            f"{scan} ({MEI_NAMES[kind]} against {CONTROL_NAMES[kind]})" for scan, kind in loop.targets.items()
        )
        parts.append(heading(f"{name}: stimuli made from {loop.source}, shown in {shown}"))
        parts += _matches(loop, results.datasets[loop.dataset])
        for kind in loop.kinds:
            parts += _stimulus_set(loop, kind)
    if not results.loops:
        parts.append(paragraph("Left out: no closed loop is configured, so no stimuli were shown again."))
    return section("closed-loop", "Closed loop", *parts)


def _stimulus_set(loop: LoopResult, kind: str) -> list[str]:
    mei, control = MEI_NAMES[kind], CONTROL_NAMES[kind]
    parts = [heading(capital(f"{mei} against {control}"))]
    for response in RESPONSES:
        caption = (
            "A row is an image, a column a cell; both axes list the same units, by descending difference between "
            f"the response to the own {mei} and to the own {control}, so that each cell's own image lies on the "
            f"diagonal. Left: images are {mei}s; right: {control}s; one color scale. "
            f"{SCALES[response]}; mean over trials. Light gray: no value."
        )
        drawing = confusion_figure(loop.confusion, loop.diagonal, kind, response)
        title = f"Confusion matrices, {mei} against {control}, {RESPONSE_NAMES[response]} responses."
        parts.append(figure(drawing, title, caption))
    return [*parts, *_diagonal(loop, kind), _tests(loop, kind)]


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


def _diagonal(loop: LoopResult, kind: str) -> list[str]:
    mei, control = MEI_NAMES[kind], CONTROL_NAMES[kind]
    normalized = loop.diagonal[(loop.diagonal.kind == kind) & (loop.diagonal.response == "normalized")]
    more, less = significant_cells(loop.diagonal, kind, "normalized")
    n_trials = [*normalized.mei_n.dropna(), *normalized.control_n.dropna()]
    trials = f"{min(n_trials):.0f} to {max(n_trials):.0f} trials an image" if n_trials else "no trials"
    words = (
        f"Of {count(int(normalized.p_value.notna().sum()), 'cell')} tested, {more} respond significantly more to their "
        f"{mei} than to their {control} and {less} significantly less, after Benjamini-Hochberg correction (q < 0.05)."
    )
    caption = (
        f"A point is a cell: mean normalized response to the {mei} and to the {control} that were made for it, ± "
        f"standard error of the mean ({trials}). Dashed: no difference. Color: Welch's t test of that cell, "
        "uncorrected; black ring: still significant after correction."
    )
    return [figure(diagonal_figure(normalized, kind), f"Own {mei} against own {control}.", caption), paragraph(words)]


def _tests(loop: LoopResult, kind: str) -> str:
    rows = []
    significant = [significant_cells(loop.diagonal, kind, response) for response in RESPONSES]
    for test in dict.fromkeys([*TESTS, *loop.tests.test]):
        question, form = TESTS.get(test, ("", ".3g"))
        question = question.format(mei=MEI_NAMES[kind], control=CONTROL_NAMES[kind])
        found = [result_of(loop.tests, kind, response, test) for response in RESPONSES]
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
    return table(columns, rows, f"Tests, {MEI_NAMES[kind]} against {CONTROL_NAMES[kind]}.", caption)
