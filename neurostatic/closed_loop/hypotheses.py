"""Do units prefer their own image, and MEIs over their controls? The tests of one stimulus set of a loop."""

import numpy as np
import pandas as pd

from neurostatic.closed_loop.confusion import PUBLISHED_PAIR, RESPONSES, confusion_matrix, diagonal_entries
from neurostatic.statistics import compare_pairs, row_permutation_test
from neurostatic.store import report_problems


def loop_tests(
    summary: pd.DataFrame,
    response: str,
    seed: int | np.random.Generator,
    n_permutations: int = 10_000,
    pair: tuple[str, str] = PUBLISHED_PAIR,
) -> pd.DataFrame:
    """The hypothesis tests of a loop, from its pooled confusion table.

    On the confusion matrix of MEIs (n = units left when those with missing entries are dropped):
    - diagonal_permutation: trace against row permutations, one-sided (greater);
    - diagonal_dominance: mean of the diagonal minus mean off the diagonal;
    - diagonal_argmax_fraction: fraction of cells that respond more to their own image than to any other.

    On the diagonals of MEIs and controls (n = units with both):
    - mei_vs_control_wilcoxon: Wilcoxon signed rank of MEI - control, two-sided;
    - mei_greater_fraction: fraction of units with MEI > control;
    - ratio_of_means: mean MEI / mean control (not for z-scores, whose zero is arbitrary);
    - welch_mei_greater_p05, welch_control_greater_p05: units with Welch p < 0.05 each way (n = units tested).

    Args:
        summary: table of `pool_confusions`.
        response: the kind of response it was pooled from, raw | normalized | zscore.
        pair: model_type of the MEIs and of the controls.

    Returns:
        test, statistic, p_value, n. p_value is NaN where a row is a description and no test; statistic and
        p_value are NaN where there are fewer than 2 units (1 for the Welch counts).
    """
    known = f"response '{response}' is unknown; allowed: {', '.join(RESPONSES)}"
    report_problems("tests of a loop", [] if response in RESPONSES else [known])
    rows = _matrix_tests(summary, pair[0], seed, n_permutations)
    rows += _diagonal_tests(diagonal_entries(summary, pair), response)
    return pd.DataFrame(rows, columns=["test", "statistic", "p_value", "n"])


def complete_units(matrix: np.ndarray) -> np.ndarray:
    """Which units of a square matrix to keep so that no entry is NaN: (unit,) bool.

    The unit with the most missing entries in its row and column goes first (ties: the first of them), so that
    one silent cell costs one unit and not the whole matrix.
    """
    missing = np.isnan(matrix)
    keep = np.ones(len(matrix), dtype=bool)
    while missing[np.ix_(keep, keep)].any():
        count = missing[:, keep].sum(1) + missing[keep].sum(0)
        keep[np.argmax(np.where(keep, count, -1))] = False
    return keep


def _matrix_tests(
    summary: pd.DataFrame, model_type: str, seed: int | np.random.Generator, n_permutations: int
) -> list[tuple]:
    shown = (summary["model_type"] == model_type).any()
    matrix = confusion_matrix(summary, model_type).to_numpy() if shown else np.empty((0, 0))
    keep = complete_units(matrix)
    matrix = matrix[np.ix_(keep, keep)]
    n = len(matrix)
    trace, p, dominance, hits = np.nan, np.nan, np.nan, np.nan
    if n >= 2:
        trace, p = row_permutation_test(matrix, n_permutations, seed)
        diagonal = np.eye(n, dtype=bool)
        dominance = matrix[diagonal].mean() - matrix[~diagonal].mean()
        # Each column is one cell; a tie with another image is no preference.
        hits = (matrix.diagonal() > np.where(diagonal, -np.inf, matrix).max(0)).mean()
    return [
        ("diagonal_permutation", trace, p, n),
        ("diagonal_dominance", dominance, np.nan, n),
        ("diagonal_argmax_fraction", hits, np.nan, n),
    ]


def _diagonal_tests(entries: pd.DataFrame, response: str) -> list[tuple]:
    both = entries[entries["diff_resp"].notna()]
    n, fraction, statistic, p = compare_pairs(both["mei_resp"], both["control_resp"])
    ratio = np.nan
    if n >= 2 and both["control_resp"].mean() > 0:
        ratio = both["mei_resp"].mean() / both["control_resp"].mean()
    rows = [
        ("mei_vs_control_wilcoxon", statistic, p, n),
        ("mei_greater_fraction", fraction, np.nan, n),
    ]
    if response != "zscore":
        rows.append(("ratio_of_means", ratio, np.nan, n))
    tested = both[both["p_value"].notna()]
    significant = tested[tested["p_value"] < 0.05]
    for name, sign in [("welch_mei_greater_p05", 1), ("welch_control_greater_p05", -1)]:
        count = float((sign * significant["diff_resp"] > 0).sum()) if len(tested) else np.nan
        rows.append((name, count, np.nan, len(tested)))
    return rows
