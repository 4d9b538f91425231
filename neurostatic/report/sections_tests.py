"""The tests of a stimulus set: as a table, and in a row for the top of the page."""

from typing import Any

import pandas as pd

from neurostatic.report.markup import NONE, capital, count, number, p_value, percent, table
from neurostatic.report.outcomes import Outcome, interval_in_words, outcome_of, preference_p, significant_cells
from neurostatic.report.style import CONTROL_NAMES, MEI_NAMES

RESPONSES = ("normalized", "zscore")
RESPONSE_NAMES = {"normalized": "normalized", "zscore": "z-scored"}
# test: what it asks and what is estimated, of {mei} and {control}, and how its statistic is written
TESTS = {
    "diagonal_permutation": (
        "Does each cell respond to its own {mei} more than chance would have it? Trace of the confusion matrix of "
        "{mei}s (statistic) against matrices whose rows, the images, are shuffled among the cells; one-sided. "
        "Estimate: mean response to the own {mei} minus mean response to those of the other cells (SD).",
        ".2f",
    ),
    "own_best_permutation": (
        "Do more cells respond most to their own {mei}, of the {mei}s of all cells, than chance would have it? Number "
        "of such cells (statistic) against cells matched anew at random; one-sided. Estimate: their fraction.",
        ".0f",
    ),
    "mei_vs_control_wilcoxon": (
        "Do cells respond differently to their own {mei} and their own {control}? Wilcoxon signed-rank test over cells "
        "(statistic: the smaller rank sum); two-sided. Estimate: matched-pairs rank-biserial correlation, 1 if all "
        "cells prefer the {mei}, -1 if all prefer the {control}.",
        ".1f",
    ),
    "mei_greater_fraction": (
        "Cells that respond more to their {mei} than to their {control}: number and fraction.",
        ".0f",
    ),
    "mean_difference": (
        "Mean over cells of the response to the own {mei} minus that to the own {control} (SD); t test (statistic: t).",
        ".3f",
    ),
    "ratio_of_means": (
        "Mean response to the own {mei} over mean response to the own {control}; t test of its logarithm.",
        ".3f",
    ),
    "mei_mean": ("Mean over cells of the response to the own {mei} (SD).", ".3f"),
    "control_mean": ("Mean over cells of the response to the own {control} (SD).", ".3f"),
    "welch_mei_greater_p05": (
        "Cells that respond more to their {mei}, Welch's t test over trials, p < 0.05: number and fraction.",
        ".0f",
    ),
    "welch_control_greater_p05": (
        "Cells that respond more to their {control}, Welch's t test over trials, p < 0.05: number and fraction.",
        ".0f",
    ),
}
IN_SHORT = [
    "loop", "stimuli", "cells", "own is best", "permutation p", "MEI : control", "prefer MEI", "test", "q < 0.05"
]  # fmt: skip
IN_SHORT_CAPTION = (
    "Own is best: cells that respond more to their own MEI than to the MEI of any other cell; only this, and the "
    "diagonal of the matrices below, shows that an image is the cell's own. MEI : control: mean response to the own "
    "MEI over that to the own control. Prefer MEI: cells that respond more to their MEI than to their control, and the "
    "test of that. q < 0.05: cells that significantly prefer their MEI : their control, each by itself, corrected for "
    "their number. In brackets 95 % intervals. Normalized responses; all tests, with what they ask, are further below."
)
CORRECTED = {"welch_mei_greater_p05": 0, "welch_control_greater_p05": 1}  # place in `significant_cells`
CORRECTED_QUESTION = "Of these, left when corrected for the number of cells: Benjamini-Hochberg q < 0.05."


def table_of_tests(
    tests: pd.DataFrame, diagonal: pd.DataFrame, kind: str, statistics: dict[str, Any], together: bool
) -> str:
    """Every test of one stimulus set: of normalized responses, and below each of z-scored ones.

    Args:
        tests: of one loop, or of all.
        diagonal: of the same cells, with response, kind, diff_resp, q_value.
        statistics: the options that the tests were made with.
        together: whether the tests are of the cells of all loops.
    """
    names = {"mei": MEI_NAMES[kind], "control": CONTROL_NAMES[kind]}
    over_animals = together and bool((tests.n_animals > 1).any())
    significant = [significant_cells(diagonal, kind, response) for response in RESPONSES]
    rows = []
    for test in dict.fromkeys([*TESTS, *tests.test[tests.kind == kind]]):
        question, form = TESTS.get(test, ("", ".3g"))
        found = {response: outcome_of(tests, kind, response, test) for response in RESPONSES}
        found = {response: outcome for response, outcome in found.items() if outcome.n}
        if not found:
            continue
        effect = next(iter(found.values())).effect.replace("_", " ")
        rows.append([f"{test}\n{effect}", question.format(**names), *_lines(found, form, over_animals)])
        if test in CORRECTED:
            counts = {RESPONSES[i]: float(both[CORRECTED[test]]) for i, both in enumerate(significant)}
            left = {
                response: Outcome(statistic=counts[response], estimate=counts[response] / outcome.n, n=outcome.n,
                                  n_animals=outcome.n_animals)
                for response, outcome in found.items()
            }  # fmt: skip
            rows.append([f"{test.replace('_p05', '_q05')}\n{effect}", CORRECTED_QUESTION,
                         *_lines(left, form, over_animals)])  # fmt: skip
    clusters = "animals" if over_animals else "cells"
    caption = (
        f"Below the name of each test: what is estimated. Intervals: of means and ratios, by the bootstrap over "
        f"{clusters} ({statistics['n_resamples']} resamples) with quantiles of t, of ratios on their logarithm; of "
        f"fractions, exact binomial{' with as many cells as would be independent' if over_animals else ''}. Rows "
        f"without p describe and do not test. {statistics['n_permutations']} permutations (seed {statistics['seed']}), "
        f"of few cells every order once; their p is at least {1 / (1 + statistics['n_permutations']):.2g}. The ratio "
        "of means has no meaning for z scores, whose zero is arbitrary. n: cells."
    )
    columns = ["test", "what it asks", "responses", "statistic", "estimate", "95 % interval", "p", "n"]
    columns += ["animals"] if over_animals else []
    title = f"Tests, {names['mei']} against {names['control']}{', all loops together' if together else ''}."
    return table(columns, rows, title, caption)


def _lines(found: dict[str, Outcome], form: str, over_animals: bool) -> list[str]:
    """What a row of the table holds beside the question, a line a kind of response."""
    cells = [
        [
            RESPONSE_NAMES[response],
            number(outcome.statistic, form),
            number(outcome.estimate),
            interval_in_words(outcome),
            p_value(outcome.p_value),
            str(outcome.n),
            str(outcome.n_animals),
        ]
        for response, outcome in found.items()
    ]
    return ["\n".join(lines) for lines in zip(*cells, strict=True)][: None if over_animals else -1]


def kind_in_short(who: str, tests: pd.DataFrame, diagonal: pd.DataFrame, kind: str, with_chance: bool) -> list[str]:
    """What came of one stimulus set, as a row of the table at the top of the page; its columns are `IN_SHORT`.

    Args:
        who: whose cells; tests, diagonal: of them.
        with_chance: whether every cell was shown the images of all of them, so that chance is one in their number.
    """
    ratio, above, own_best = (
        outcome_of(tests, kind, "normalized", test)
        for test in ("ratio_of_means", "mei_greater_fraction", "own_best_permutation")
    )
    compared = f"{MEI_NAMES[kind]} against {CONTROL_NAMES[kind]}"
    if not above.n:
        return [who, capital(compared), "0", *[NONE] * (len(IN_SHORT) - 3)]
    cells = f"{above.n}" + (f" of {count(above.n_animals, 'animal')}" if above.n_animals > 1 else "")
    best = NONE
    if own_best.n:
        chance = f"; chance {percent(1 / own_best.n)}" if with_chance else ""
        ends = f"{100 * own_best.low:.0f} to {percent(own_best.high)}"
        best = f"{percent(own_best.estimate)} of {own_best.n} ({ends}{chance})"
    more, less = significant_cells(diagonal, kind, "normalized")
    return [
        who,
        capital(compared),
        cells,
        best,
        p_value(own_best.p_value),
        f"{number(ratio.estimate, '.2f')} ({interval_in_words(ratio, '.2f')})",
        percent(above.estimate),
        preference_p(tests, kind),
        f"{more} : {less}",
    ]
