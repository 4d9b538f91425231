"""The page's section on the closed loop."""

from neurostatic.report.figures_closed_loop import confusion_figure, diagonal_figure
from neurostatic.report.markup import bullets, capital, count, figure, heading, paragraph, section, table
from neurostatic.report.outcomes import significant_cells
from neurostatic.report.results import LoopResult, Results
from neurostatic.report.sections_matching import left_out_parts, matched_in_words, matching_parts, skipped_scans
from neurostatic.report.sections_population import population_in_short, population_parts
from neurostatic.report.sections_tests import (
    IN_SHORT,
    IN_SHORT_CAPTION,
    RESPONSE_NAMES,
    RESPONSES,
    kind_in_short,
    table_of_tests,
)
from neurostatic.report.style import CONTROL_NAMES, MEI_NAMES

SELECTION = (
    "Cells were selected by how much better the CNN predicts them than the linear model does: MEI against RF speaks of "
    "such cells, and not of all."
)
SCALES = {
    "normalized": "Responses of each cell are divided by its standard deviation (SD) over all trials of the scan, "
    "those of its own MEI included: in a scan of more images the same response is more SD",
    "zscore": "From each cell its mean over all trials of the scan is taken off, then it is divided by its standard "
    "deviation",
}


def closed_loop_in_short(results: Results) -> list[str]:
    """Which cells were found again, and a table of what came of each stimulus set."""
    if not results.loops:
        return []
    found = [
        f"{name}: {matched_in_words(loop, results.datasets[loop.dataset])}." for name, loop in results.loops.items()
    ]
    rows = [
        kind_in_short(name, loop.tests, loop.diagonal, kind, True)
        for name, loop in results.loops.items()
        for kind in loop.kinds
    ]
    title = "Do neurons prefer the image that was made for them?"
    return [table(IN_SHORT, rows + population_in_short(results), title, IN_SHORT_CAPTION), bullets(found)]


def closed_loop_section(results: Results) -> str:
    """Matches, confusion matrices, their diagonal and their tests, for each loop; then for all of them together."""
    parts = []
    for name, loop in results.loops.items():
        shown = ", ".join(f"{scan} ({_sets_in_words(kinds)})" for scan, kinds in loop.targets.items())
        parts.append(heading(f"{name}: stimuli made from {loop.source}, shown in {shown}"))
        parts += skipped_scans(loop)
        parts += matching_parts(loop, results.datasets[loop.dataset])
        parts += left_out_parts(loop)
        for kind in loop.kinds:
            parts += _stimulus_set(loop, kind)
    if results.loops:
        parts = [paragraph(SELECTION), *parts, *population_parts(results)]
    else:
        parts.append(paragraph("Left out: no closed loop is configured, so no stimuli were shown again."))
    return section("closed-loop", "Closed loop", *parts)


def _sets_in_words(kinds: list[str]) -> str:
    return " and ".join(f"{MEI_NAMES[kind]} against {CONTROL_NAMES[kind]}" for kind in kinds)


def _stimulus_set(loop: LoopResult, kind: str) -> list[str]:
    mei, control = MEI_NAMES[kind], CONTROL_NAMES[kind]
    parts = [heading(capital(f"{mei} against {control}"))]
    kinds = loop.confusion.kind.values.tolist()
    if kind not in kinds or not (loop.confusion.n.sel(kind=kind) > 0).any():
        return [*parts, paragraph("No matched cell has responses to these images.")]
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
    statistics = loop.configs["summarize_confusion"]["statistics"]
    return [*parts, *_diagonal(loop, kind), table_of_tests(loop.tests, loop.diagonal, kind, statistics, False)]


def _diagonal(loop: LoopResult, kind: str) -> list[str]:
    mei, control = MEI_NAMES[kind], CONTROL_NAMES[kind]
    normalized = loop.diagonal[(loop.diagonal.kind == kind) & (loop.diagonal.response == "normalized")]
    more, less = significant_cells(loop.diagonal, kind, "normalized")
    n_trials = [*normalized.mei_n.dropna(), *normalized.control_n.dropna()]
    fewest, most = (f"{limit(n_trials, default=0):.0f}" for limit in (min, max))
    trials = f"{fewest if fewest == most else f'{fewest} to {most}'} trials an image"
    words = (
        f"Of {count(int(normalized.p_value.notna().sum()), 'cell')} tested, {more} respond significantly more to their "
        f"{mei} than to their {control} and {less} significantly less, after Benjamini-Hochberg correction (q < 0.05)."
    )
    caption = (
        f"A point is a cell. Left: mean normalized response to the {mei} and to the {control} that were made for it, "
        f"± standard error of the mean ({trials}). Right: the difference with its 95 % interval (Welch). Dashed: no "
        "difference. Filled: Welch's t test of that cell is significant when corrected for the number of cells "
        "(Benjamini-Hochberg q < 0.05); open: only when not corrected. With few trials, many of them silent, "
        "these t tests of single cells are rough."
    )
    return [figure(diagonal_figure(normalized, kind), f"Own {mei} against own {control}.", caption), paragraph(words)]
