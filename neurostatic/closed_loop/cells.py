"""Which cells of a scan were found again in a later one, which were not, and why not."""

from typing import Any

import numpy as np
import pandas as pd

from neurostatic.closed_loop.assignment import one_to_one_match
from neurostatic.closed_loop.doubt import fit_displacements, match_doubt
from neurostatic.closed_loop.matching import (
    BEST_COLUMNS,
    POSITION_COLUMNS,
    best_match,
    placed_units,
    proximity_match,
    shared_stacks,
)
from neurostatic.closed_loop.structure import best_structure_match, structure_match
from neurostatic.problems import report_problems

METHODS = ("proximity", "structure")
COUNT_COLUMNS = ["src_unit_id", "unit_id", "match_freq", "total_stacks", "shared"]
DOUBT_COLUMNS = ["displacement_um", "runner_up_um", "posterior"]
SOURCE_POSITION_COLUMNS = [f"src_{column}" for column in POSITION_COLUMNS]
UNMATCHED_COLUMNS = ["src_unit_id", "unit_id", "mean_distance_um", "posterior", *SOURCE_POSITION_COLUMNS, "reason"]


def match_cells(
    source: pd.DataFrame,
    target: pd.DataFrame,
    owners: list[int] | np.ndarray | None = None,
    *,
    method: str = "proximity",
    structure: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    one_to_one: bool = False,
    max_distance_um: float = np.inf,
    min_vote_fraction: float = 0.0,
    min_posterior: float = 0.0,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Match the cells of two scans, and keep the matches that pass every limit (MatchedUnits).

    Args:
        source, target: stack, unit_id, x_um, y_um, z_um; one row per stack and unit. All somata of both scans.
        owners: source units whose matches are wanted; None: all of `source`. The others are
            rivals (`one_to_one_match`) and show
            what a match looks like (`fit_displacements`).
        method: "proximity" (the unit nearest in most stacks) or "structure" (in the same structural cell in most).
        structure: for method "structure" only, the tables of `structure_match` of the source and of the target.
        one_to_one: no unit of the target may be the match of two source units; needs a finite max_distance_um.
        max_distance_um: largest mean distance; of method "structure", of the target to the structural cell.
        min_vote_fraction: smallest match_freq / total_stacks.
        min_posterior: smallest posterior; method "structure" has none, and passes it by.
        seed: of the places where chance is measured.

    Returns:
        matches: src_unit_id, unit_id, match_freq, total_stacks, mean_distance_um, shared (owners here with this
            target), displacement_um, runner_up_um, posterior, src_x_um ... z_um (means over the stacks that both
            scans share). Method "structure": the doubt is NaN; also mean_iou.
        unmatched: src_unit_id, unit_id, mean_distance_um, posterior (of the best candidate, if there is one),
            src_x_um, src_y_um, src_z_um, reason.

        Every owner is in one of the two, in ascending order. If no stack is shared, none is matched.

    Raises:
        InputError: a table is malformed, or options that do not go together.
    """
    limits = {
        "max_distance_um": max_distance_um,
        "min_vote_fraction": min_vote_fraction,
        "min_posterior": min_posterior,
    }
    _check_options(method, structure, one_to_one, limits)
    placed, everyone = placed_units(source, target), source["unit_id"]
    stacks = shared_stacks(*placed)
    source, target = (table[table["stack"].isin(stacks)] for table in placed)
    if structure is not None:
        best = best_structure_match(structure_match(*structure)).assign(lost=False)
        best[DOUBT_COLUMNS] = np.nan  # not below any limit
    elif stacks:
        best = best_match(proximity_match(source, target)).assign(lost=False)
        if one_to_one:
            assigned = one_to_one_match(source, target, max_distance_um).assign(lost=False)
            lost = best[~best["src_unit_id"].isin(assigned["src_unit_id"])].assign(lost=True)
            best = pd.concat([assigned, lost])
        best = match_doubt(best, fit_displacements(source, target, seed).pairs)
    else:
        best = pd.DataFrame(columns=[*BEST_COLUMNS, *DOUBT_COLUMNS, "lost"], dtype=float)

    units = np.unique(everyone if owners is None else np.asarray(owners, dtype=int))
    judged = pd.DataFrame({"src_unit_id": units}).merge(best, on="src_unit_id", how="left")
    taken = set(best.loc[~best["lost"].astype(bool), "unit_id"])
    judged["reason"] = [_reason(match, method, taken, **limits) for match in judged.itertuples()]
    kept = judged["reason"] == ""
    judged[SOURCE_POSITION_COLUMNS] = _mean_positions(source, judged["src_unit_id"])
    judged[POSITION_COLUMNS] = _mean_positions(target, judged["unit_id"])
    unmatched = judged.loc[~kept, UNMATCHED_COLUMNS].astype({"unit_id": "Int64"}).reset_index(drop=True)
    matches = judged[kept].drop(columns=["lost", "reason"]).astype(dict.fromkeys(COUNT_COLUMNS, int))
    matches["shared"] = matches.groupby("unit_id")["src_unit_id"].transform("size")
    return matches.reset_index(drop=True), unmatched


def _mean_positions(table: pd.DataFrame, unit_ids: pd.Series) -> np.ndarray:
    """(unit, axis) means over the stacks; NaN where there is none."""
    return table.groupby("unit_id")[POSITION_COLUMNS].mean().reindex(unit_ids).to_numpy()


def _check_options(
    method: str, structure: tuple[pd.DataFrame, pd.DataFrame] | None, one_to_one: bool, limits: dict[str, float]
) -> None:
    problems = []
    for name, value in limits.items():
        high = np.inf if name == "max_distance_um" else 1
        if not 0 <= value <= high:
            problems.append(f"{name} is {value:g}, allowed is 0 to {high:g}")
    if method not in METHODS:
        problems.append(f"method is '{method}', allowed are {', '.join(METHODS)}")
    if one_to_one and limits["max_distance_um"] in (0, np.inf):
        problems.append(f"max_distance_um is {limits['max_distance_um']:g}; one_to_one needs a finite limit above 0")
    if (method == "structure") != (structure is not None):
        problems.append("method 'structure', and no other, needs the tables of structural cells")
    if method == "structure" and one_to_one:
        problems.append("one_to_one is for method 'proximity'")
    report_problems("cell match", problems)


def _reason(
    match: Any, method: str, taken: set[int], max_distance_um: float, min_vote_fraction: float, min_posterior: float
) -> str:
    """Why a match does not count, the kind of reason before a colon; "" if it does."""
    if pd.isna(match.unit_id):
        if method == "structure":
            return "is in no structural cell, or in one with no unit of the target scan"
        return "has no position in a stack that both scans share"
    if match.mean_distance_um > max_distance_um:
        distance = f"{match.mean_distance_um:.1f} um"
        if method == "structure":
            beyond = f"no structural cell within {max_distance_um:g} um"
            return f"{beyond}: that of unit {match.unit_id:.0f} is {distance} from it"
        return f"no cell within {max_distance_um:g} um: the nearest is {distance} away"
    if match.lost and match.unit_id in taken:
        return f"one to one: unit {match.unit_id:.0f}, {match.mean_distance_um:.1f} um away, fits another unit better"
    if match.lost:
        return f"no cell within {max_distance_um:g} um: none on average over the stacks that both scans share"
    if match.match_freq / match.total_stacks < min_vote_fraction:
        votes = f"{match.match_freq:.0f} of {match.total_stacks:.0f} stacks agree on unit {match.unit_id:.0f}"
        return f"too few votes: {votes}, less than a fraction of {min_vote_fraction:g}"
    if match.posterior < min_posterior:
        return f"doubtful: posterior {match.posterior:.2f} is below {min_posterior:g}"
    return ""
