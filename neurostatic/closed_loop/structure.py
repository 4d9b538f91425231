"""Matches by way of structure: two units that a stack's registration gave to the same structural cell."""

import numpy as np
import pandas as pd

from neurostatic.closed_loop.matching import BEST_COLUMNS, require_columns, twice_in_a_stack
from neurostatic.problems import report_problems

STRUCTURE_COLUMNS = ["stack", "unit_id", "sunit_id", "iou", "distance_um"]
CANDIDATE_COLUMNS = ["src_unit_id", "unit_id", "match_cts", "mean_iou", "max_iou", "mean_distance_um", "total_cts"]


def structure_match(source: pd.DataFrame, target: pd.DataFrame) -> pd.DataFrame:
    """Every pair of units given to one structural cell in at least one stack (StructureCellMatch.AllMatch).

    iou and distance_um are the target unit's, to the structural cell: those of the source unit are the same for all
    its candidates in a stack and could not tell them apart. Rows without a structural cell (NaN) take no part.

    Args:
        source, target: stack, unit_id, sunit_id (structural cell, NaN if none), iou (intersection over union of the
            unit with it, 0 to 1), distance_um (of the unit to it); one row per stack and unit.

    Returns:
        One row per pair: src_unit_id, unit_id, match_cts (stacks in which both have the same structural cell),
        mean_iou, max_iou and mean_distance_um over these stacks, total_cts (stacks both scans share); no row where
        nothing is shared.

    Raises:
        InputError: missing columns, units listed twice in a stack, values that are no numbers or out of range.
    """
    report_problems("structure match", _structure_problems("source", source) + _structure_problems("target", target))
    source, target = (table.dropna(subset=["sunit_id", "iou", "distance_um"]) for table in (source, target))
    total = len(set(source["stack"]) & set(target["stack"]))
    here = source[["stack", "sunit_id", "unit_id"]].rename(columns={"unit_id": "src_unit_id"})
    pairs = here.merge(target[STRUCTURE_COLUMNS], on=["stack", "sunit_id"])
    # Sorted, so that the last digit of a mean does not depend on the order of the rows.
    found = (
        pairs.sort_values(["src_unit_id", "unit_id", "iou", "distance_um"])
        .groupby(["src_unit_id", "unit_id"], as_index=False)
        .agg(
            match_cts=("iou", "size"),
            mean_iou=("iou", "mean"),
            max_iou=("iou", "max"),
            mean_distance_um=("distance_um", "mean"),
        )
    )
    return found.assign(total_cts=total)[CANDIDATE_COLUMNS]


def best_structure_match(candidates: pd.DataFrame) -> pd.DataFrame:
    """The candidate that most stacks agree on, per source unit (StructureCellMatch.BestMatch).

    Ties: the highest count, then the largest mean IoU, then the smallest mean distance, then the smallest unit_id
    (upstream stops at a tie of the first two).

    Args:
        candidates: rows of `structure_match`.

    Returns:
        One row per source unit, columns as of `best_match` and mean_iou: src_unit_id, unit_id, match_freq,
        total_stacks, mean_distance_um, shared, mean_iou.

    Raises:
        InputError: missing columns, or a pair listed twice.
    """
    require_columns("structure matches", candidates, CANDIDATE_COLUMNS)
    twice = candidates[candidates.duplicated(["src_unit_id", "unit_id"])]
    report_problems(
        "structure matches",
        [f"source unit {row.src_unit_id} and unit {row.unit_id} are listed twice" for row in twice.itertuples()],
    )
    order = ["src_unit_id", "match_cts", "mean_iou", "mean_distance_um", "unit_id"]
    best = candidates.sort_values(order, ascending=[True, False, False, True, True])
    best = best.drop_duplicates("src_unit_id", ignore_index=True)
    best = best.rename(columns={"match_cts": "match_freq", "total_cts": "total_stacks"})
    best["shared"] = best.groupby("unit_id")["src_unit_id"].transform("size")
    return best[[*BEST_COLUMNS, "mean_iou"]]


def _structure_problems(name: str, table: pd.DataFrame) -> list[str]:
    problems = [f"{name}: column '{c}' is missing" for c in STRUCTURE_COLUMNS if c not in table.columns]
    if problems:
        return problems
    problems += twice_in_a_stack(name, table)
    for column, low, high in [("iou", 0, 1), ("distance_um", 0, np.inf)]:
        if not pd.api.types.is_numeric_dtype(table[column]):
            problems.append(f"{name}: column '{column}' holds something that is no number")
        elif ((table[column] < low) | (table[column] > high) | np.isinf(table[column])).any():
            allowed = "0 to 1" if column == "iou" else "a distance"
            problems.append(f"{name}: column '{column}' holds a value out of range, allowed is {allowed}")
    return problems
