"""The part of the closed loops on all of them together: means of MEIs and controls, and the tests over animals."""

from neurostatic.config import STIMULUS_SETS
from neurostatic.report.figures_population import Cells, bars_figure
from neurostatic.report.markup import figure, heading, paragraph
from neurostatic.report.outcomes import outcome_of
from neurostatic.report.results import Results
from neurostatic.report.sections_tests import kind_in_short, table_of_tests

ALL_LOOPS = "all loops"
ONE_ANIMAL = (
    "All loops are of one animal: their agreement is no replication, and p and intervals speak of this animal alone. A "
    "cell with a missing entry, as it was not found in every loop, is left out of the tests of the matrices."
)


def population_in_short(results: Results) -> list[list[str]]:
    """A row for each stimulus set that several loops showed, on the cells of all of them."""
    if results.population is None:
        return []
    tests, diagonal = results.population.tests, results.population.diagonal
    return [kind_in_short(ALL_LOOPS, tests, diagonal, kind, False) for kind in _kinds(results, at_least=2)]


def population_parts(results: Results) -> list[str]:
    """Mean responses, loop by loop and together; the tests over animals, if there are several loops."""
    groups = [Cells(name, loop.tests, loop.diagonal) for name, loop in results.loops.items()]
    if results.population is not None:
        groups.append(Cells(ALL_LOOPS, results.population.tests, results.population.diagonal))
    kinds = [kind for kind in _kinds(results) if any(_was_tested(group, kind) for group in groups)]
    parts = [heading("MEIs and controls on average")]
    if not kinds:
        return [*parts, paragraph("No cell has responses to both its images.")]
    over, pairs = "over the cells of the animal", ""
    several = results.population is not None and bool((results.population.tests.n_animals > 1).any())
    if results.population is not None:
        over += ", of all loops over animals" if several else ""
        pairs = " A pair of bars is a loop; the last pair and the titles are of the cells of all loops."
    caption = (
        "Mean over cells of the normalized response to the own MEI and to the own control, with its 95 % interval "
        f"(bootstrap {over}, with quantiles of t). A dot is a cell.{pairs} In the titles: mean "
        "response to MEIs over that to controls with its 95 % interval, and the p of "
        + ("a t test of it over animals." if several else "Wilcoxon's signed-rank test over cells.")
    )
    parts.append(figure(bars_figure(groups, kinds), "Mean responses.", caption))
    if results.population is not None:
        statistics = next(iter(results.loops.values())).configs["summarize_confusion"]["statistics"]
        tests, diagonal = results.population.tests, results.population.diagonal
        if not several:
            parts.append(paragraph(ONE_ANIMAL))
        together = [kind for kind in _kinds(results, at_least=2) if kind in kinds]
        parts += [table_of_tests(tests, diagonal, kind, statistics, True) for kind in together]
    return parts


def _kinds(results: Results, at_least: int = 1) -> list[str]:
    """Stimulus sets that were shown in so many loops."""
    shown = [kind for loop in results.loops.values() for kind in loop.kinds]
    return [kind for kind in STIMULUS_SETS if shown.count(kind) >= at_least]


def _was_tested(group: Cells, kind: str) -> bool:
    return outcome_of(group.tests, kind, "normalized", "mei_mean").n > 0
