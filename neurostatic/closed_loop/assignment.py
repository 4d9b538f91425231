"""Matches that are one to one: no two units of the source scan may be the same unit of the target scan."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from neurostatic.closed_loop.matching import (
    BEST_COLUMNS,
    POSITION_COLUMNS,
    placed_units,
    proximity_match,
    shared_stacks,
)
from neurostatic.problems import InputError

# Added to the cost of all edges: an explicit 0 would be no edge. Every unit has one edge, so nothing else changes.
EDGE_UM = 1.0


def one_to_one_match(source: pd.DataFrame, target: pd.DataFrame, max_distance_um: float) -> pd.DataFrame:
    """The pairs of units whose distances, and the limit for each unit left without one, have the smallest sum.

    min sum_i c_i, c_i = mean distance of source unit i and its target over the stacks in which both have a position,
    or max_distance_um if it is lost; every target is used once at most. Candidates are the pairs up to
    max_distance_um. All units of the source scan take part, as rivals, whether or not their match is wanted.

    Args:
        source, target: stack, unit_id, x_um, y_um, z_um; one row per stack and unit.

    Returns:
        One row per matched source unit, columns as of `best_match`: src_unit_id, unit_id, match_freq (stacks in which
        this target is the nearest), total_stacks (in which the source unit has a position), mean_distance_um, shared
        (always 1).

    Raises:
        InputError: max_distance_um is not finite and above 0, or what `proximity_match` raises.
    """
    if not (np.isfinite(max_distance_um) and max_distance_um > 0):
        raise InputError(
            f"one-to-one match: max_distance_um is {max_distance_um:g}; a finite limit above 0 is needed, "
            "the cost of a unit that is lost"
        )
    nearest = proximity_match(source, target)
    source, target = placed_units(source, target)
    pairs = _near_pairs(source, target, max_distance_um)
    source_ids, row = np.unique(pairs["src_unit_id"], return_inverse=True)
    target_ids, column = np.unique(pairs["unit_id"], return_inverse=True)
    n_sources, n_targets = len(source_ids), len(target_ids)
    own = np.arange(n_sources)  # each source unit has a column of its own: to be lost
    costs_um = np.concatenate([pairs["mean_distance_um"], np.full(n_sources, max_distance_um)]) + EDGE_UM
    place = np.concatenate([row, own]), np.concatenate([column, n_targets + own])
    graph = csr_array((costs_um, place), shape=(n_sources, n_targets + n_sources))
    rows, columns = min_weight_full_bipartite_matching(graph) if n_sources else (own, own)
    kept = columns < n_targets
    chosen = pd.DataFrame({"src_unit_id": source_ids[rows[kept]], "unit_id": target_ids[columns[kept]]})
    agreeing = nearest.groupby(["src_unit_id", "unit_id"]).size().rename("match_freq").reset_index()
    total = nearest.groupby("src_unit_id").size()
    match = chosen.merge(pairs, on=["src_unit_id", "unit_id"]).merge(
        agreeing, on=["src_unit_id", "unit_id"], how="left"
    )
    match["match_freq"] = match["match_freq"].fillna(0).astype(int)
    match["total_stacks"] = match["src_unit_id"].map(total).astype(int)
    match["shared"] = 1
    return match.sort_values("src_unit_id", ignore_index=True)[BEST_COLUMNS]


def _near_pairs(source: pd.DataFrame, target: pd.DataFrame, limit_um: float) -> pd.DataFrame:
    """src_unit_id, unit_id, mean_distance_um of the pairs whose mean distance over common stacks is up to the limit."""
    near = []
    for stack in shared_stacks(source, target):  # a mean up to the limit has a stack up to the limit
        here, there = (table[table["stack"] == stack] for table in (source, target))
        trees = [cKDTree(table[POSITION_COLUMNS].to_numpy(float)) for table in (here, there)]
        found = trees[0].sparse_distance_matrix(trees[1], limit_um * (1 + 1e-9), output_type="ndarray")
        ids = {
            "src_unit_id": here["unit_id"].to_numpy()[found["i"]],
            "unit_id": there["unit_id"].to_numpy()[found["j"]],
        }
        near.append(pd.DataFrame(ids))
    pairs = pd.concat(near).drop_duplicates()
    placed = pairs.merge(source, left_on="src_unit_id", right_on="unit_id", suffixes=("", "_source"))
    placed = placed.merge(target, on=["stack", "unit_id"], suffixes=("_here", "_there"))
    here_um, there_um = (placed[[f"{c}_{side}" for c in POSITION_COLUMNS]].to_numpy() for side in ("here", "there"))
    placed["mean_distance_um"] = np.sqrt(((here_um - there_um) ** 2).sum(-1))
    means = placed.groupby(["src_unit_id", "unit_id"], as_index=False)["mean_distance_um"].mean()
    return means[means["mean_distance_um"] <= limit_um]
