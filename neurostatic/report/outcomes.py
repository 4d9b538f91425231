"""Rows of the tables of tests, and how they are written."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from neurostatic.report.markup import NONE, number, p_value


class Outcome(NamedTuple):
    """One test: its statistic and p, the estimate of its effect with a 95 % interval, and the number of cells."""

    statistic: float = np.nan
    p_value: float = np.nan
    effect: str = ""
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    n_animals: int = 1


def outcome_of(tests: pd.DataFrame, kind: str, response: str, test: str) -> Outcome:
    """One row of a table of tests; NaN and no cells if the test was not made."""
    found = tests[(tests.kind == kind) & (tests.response == response) & (tests.test == test)]
    if found.empty:
        return Outcome()
    row = found.iloc[0]
    numbers = ("statistic", "p_value", "estimate", "low", "high")
    statistic, p, estimate, low, high = (float(row[name]) for name in numbers)
    effect = "" if pd.isna(row.effect) else str(row.effect)
    return Outcome(statistic, p, effect, estimate, low, high, int(row.n), int(row.n_animals))


def preference_p(tests: pd.DataFrame, kind: str) -> str:
    """The p of MEIs against controls: Wilcoxon's over the cells of an animal, of several animals a t test over them."""
    ratio, wilcoxon = (
        outcome_of(tests, kind, "normalized", name) for name in ("ratio_of_means", "mei_vs_control_wilcoxon")
    )
    if ratio.n_animals > 1:  # cells of an animal are not independent where animals differ
        return f"t test over {ratio.n_animals} animals p = {p_value(ratio.p_value)}"
    return f"Wilcoxon p = {p_value(wilcoxon.p_value)}"


def significant_cells(diagonal: pd.DataFrame, kind: str, response: str) -> tuple[int, int]:
    """Cells with q < 0.05 that prefer their MEI, and that prefer their control."""
    rows = diagonal[(diagonal.kind == kind) & (diagonal.response == response) & (diagonal.q_value < 0.05)]
    return int((rows.diff_resp > 0).sum()), int((rows.diff_resp < 0).sum())


def interval_in_words(outcome: Outcome, form: str = ".3f") -> str:
    """'low to high', or a dash."""
    if np.isnan(outcome.low) or np.isnan(outcome.high):
        return NONE
    return f"{number(outcome.low, form)} to {number(outcome.high, form)}"
