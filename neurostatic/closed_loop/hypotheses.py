"""Do units prefer their own image, and MEIs over their controls? The tests of a stimulus set, each with its effect."""

import numpy as np
import pandas as pd

from neurostatic.closed_loop.confusion import RESPONSES, confusion_matrix
from neurostatic.closed_loop.diagonal import PUBLISHED_PAIR, population_diagonal
from neurostatic.problems import report_problems
from neurostatic.resampling import (
    NO_INTERVAL,
    ClusterBootstrap,
    complete_units,
    diagonal_test,
    fraction_interval,
)
from neurostatic.statistics import compare_pairs, rank_biserial

COLUMNS = ["test", "statistic", "p_value", "effect", "estimate", "low", "high", "n", "n_animals"]
P_LIMIT = 0.05


def loop_tests(
    summaries: dict[str, pd.DataFrame],
    response: str,
    seed: int,
    animals: dict[str, str] | None = None,
    n_permutations: int = 10_000,
    n_resamples: int = 2_000,
    pair: tuple[str, str] = PUBLISHED_PAIR,
) -> pd.DataFrame:
    """The hypothesis tests of one loop, or of several together, from their pooled confusion tables.

    On the confusion matrices of MEIs (n = units left when those with missing entries are dropped):

    - diagonal_permutation: trace against matrices whose rows are shuffled, one-sided; effect: dominance, the mean over
      cells of the response to the own MEI minus the mean response to the other cells' MEIs;
    - own_best_permutation: cells whose best image is their own, against re-matched cells (the same shuffles); effect:
      own_best_fraction.

    On the diagonals of MEIs and controls (n = units with both):

    - mei_vs_control_wilcoxon: Wilcoxon signed rank of MEI - control, two-sided; effect: rank_biserial;
    - mei_greater_fraction: units with MEI > control, and their fraction;
    - mean_difference: mean of MEI - control, t test;
    - ratio_of_means: mean MEI / mean control (not for z-scores, whose zero is arbitrary), t test of its logarithm;
    - mei_mean, control_mean;
    - welch_mei_greater_p05, welch_control_greater_p05: units with Welch p < 0.05 each way, and their fraction.

    Intervals of 95 % and t tests are by the hierarchical bootstrap over animals > units > trials (`ClusterBootstrap`):
    the outermost level of which there are two or more is resampled (animals, otherwise units), and carries the levels
    below. Wilcoxon's test and the shuffles, within each group, take cells as independent: where animals differ, they
    speak of these animals alone, and the t tests of animals.

    Args:
        summaries: group -> table of `pool_confusions`. A group is the cells of one source scan; no two groups may have
            a cell in common.
        response: the kind of response they were pooled from, raw | normalized | zscore.
        seed: of shuffles and resamples.
        animals: group -> animal; None if all are of one.
        pair: model_type of the MEIs and of the controls.

    Returns:
        test, statistic, p_value, effect, estimate (of the effect), low, high, n (units), n_animals. NaN where a row is
        a description and no test, where an effect has no interval, and where there are fewer than 2 units (1 for the
        Welch counts); a group with a single complete unit takes no part in the tests of the matrices.

    Raises:
        InputError: an unknown response.
    """
    known = f"response '{response}' is unknown; allowed: {', '.join(RESPONSES)}"
    report_problems("tests of a loop", [] if response in RESPONSES else [known])
    animals = animals or dict.fromkeys(summaries, "")
    matrices = {group: _complete_matrix(summary, pair[0]) for group, summary in summaries.items()}
    matrices = {group: matrix for group, matrix in matrices.items() if len(matrix) >= 2}
    entries = population_diagonal(summaries, pair).assign(animal=lambda cells: cells["source"].map(animals))
    rows = _matrix_tests(matrices, animals, seed, n_permutations, n_resamples)
    rows += _diagonal_tests(entries[entries["diff_resp"].notna()], response, seed, n_resamples)
    return pd.DataFrame(rows, columns=COLUMNS)


def untested_units(summary: pd.DataFrame, pair: tuple[str, str] = PUBLISHED_PAIR) -> pd.DataFrame:
    """Matched units that the tests of the matrix, or those of MEI against control, leave out, and why.

    Args:
        summary: table of `pool_confusions`.
        pair: model_type of the MEIs and of the controls. Of a type that was never shown, no unit is listed.

    Returns:
        unit_id, reason.
    """
    gaps, values = [], summary[summary["mu_resp"].notna()]
    own = values[values["image_unit_id"] == values["matched_unit_id"]]
    for model_type, image in zip(pair, ("MEI", "control image"), strict=True):
        shown = summary[summary["model_type"] == model_type]
        lacking = set(shown["matched_unit_id"]) - set(own.loc[own["model_type"] == model_type, "matched_unit_id"])
        gaps += [(unit, f"MEI against control: no response to its own {image}") for unit in sorted(lacking)]
    if (summary["model_type"] == pair[0]).any():
        matrix = confusion_matrix(summary, pair[0])
        complete = complete_units(matrix.to_numpy())
        reason = "tests of the matrix: no response to the MEI of another cell, or of another to its own"
        gaps += [(unit, reason) for unit in matrix["image_unit_id"].values[~complete].tolist()]
        if complete.sum() == 1:
            alone = int(matrix["image_unit_id"].values[complete][0])
            gaps.append((alone, "tests of the matrix: there is no other cell to compare it with"))
    return pd.DataFrame(gaps, columns=["unit_id", "reason"])


def _complete_matrix(summary: pd.DataFrame, model_type: str) -> np.ndarray:
    if not (summary["model_type"] == model_type).any():
        return np.empty((0, 0))
    matrix = confusion_matrix(summary, model_type).to_numpy()
    keep = complete_units(matrix)
    return matrix[np.ix_(keep, keep)]


def _matrix_tests(
    matrices: dict[str, np.ndarray], animals: dict[str, str], seed: int, n_permutations: int, n_resamples: int
) -> list[tuple[str | float, ...]]:
    trace, trace_p, n_best, n_best_p = [np.nan] * 4
    dominance, own_best = NO_INTERVAL, NO_INTERVAL
    n, n_animals = sum(map(len, matrices.values())), len({animals[group] for group in matrices})
    if matrices:
        arrays = list(matrices.values())
        trace, trace_p, n_best, n_best_p = diagonal_test(arrays, n_permutations, seed)
        own = np.concatenate([array.diagonal() for array in arrays])
        best_other = np.concatenate([_others(array).max(0) for array in arrays])
        other = np.concatenate([_others(array).mean(0) for array in arrays])
        clusters = _clusters(np.repeat([animals[group] for group in matrices], [len(array) for array in arrays]))
        dominance = ClusterBootstrap(clusters, n_resamples, seed).mean(own - other)
        own_best = fraction_interval(own > best_other, clusters)  # a tie with another image is no preference
    return [
        ("diagonal_permutation", trace, trace_p, "dominance", *dominance[:3], n, n_animals),
        ("own_best_permutation", n_best, n_best_p, "own_best_fraction", *own_best[:3], n, n_animals),
    ]


def _diagonal_tests(entries: pd.DataFrame, response: str, seed: int, n_resamples: int) -> list[tuple[str | float, ...]]:
    n, n_animals = len(entries), entries["animal"].nunique()
    mei, control = entries["mei_resp"].to_numpy(), entries["control_resp"].to_numpy()
    difference = mei - control
    clusters = _clusters(entries["animal"].to_numpy())
    counts = (n, n_animals)
    greater, over, of_mei, of_control, ratio = [NO_INTERVAL] * 5
    n_greater, effect = np.nan, np.nan
    _, _, rank_sum, p = compare_pairs(mei, control)
    if n >= 2:
        effect, n_greater = rank_biserial(difference), int((difference > 0).sum())
        greater = fraction_interval(difference > 0, clusters)
        bootstrap = ClusterBootstrap(clusters, n_resamples, seed)
        over, of_mei, of_control = (bootstrap.mean(values) for values in (difference, mei, control))
        ratio = bootstrap.ratio(mei, control)
    rows: list[tuple[str | float, ...]] = [
        ("mei_vs_control_wilcoxon", rank_sum, p, "rank_biserial", effect, np.nan, np.nan, *counts),
        ("mei_greater_fraction", n_greater, np.nan, "fraction", *greater[:3], *counts),
        ("mean_difference", over.t, over.p_value, "mean_difference", *over[:3], *counts),
    ]
    if response != "zscore":
        rows.append(("ratio_of_means", ratio.t, ratio.p_value, "ratio", *ratio[:3], *counts))
    rows.append(("mei_mean", np.nan, np.nan, "mean", *of_mei[:3], *counts))
    rows.append(("control_mean", np.nan, np.nan, "mean", *of_control[:3], *counts))
    tested = entries[entries["p_value"].notna()]
    significant = tested[tested["p_value"] < P_LIMIT]
    counts = (len(tested), tested["animal"].nunique())
    for name, sign in [("welch_mei_greater_p05", 1), ("welch_control_greater_p05", -1)]:
        count = float((sign * significant["diff_resp"] > 0).sum()) if len(tested) else np.nan
        fraction = count / len(tested) if len(tested) else np.nan
        rows.append((name, count, np.nan, "fraction", fraction, np.nan, np.nan, *counts))
    return rows


def _others(matrix: np.ndarray) -> np.ndarray:
    """(image, cell) without the diagonal: the responses of each cell to the other cells' images, one row fewer."""
    n = len(matrix)
    return matrix.T[~np.eye(n, dtype=bool)].reshape(n, n - 1).T


def _clusters(animals: np.ndarray) -> np.ndarray:
    """What is resampled: animals, or, if all are of one, units."""
    return animals if len(np.unique(animals)) > 1 else np.arange(len(animals))
