"""Which unit of a later scan is which unit of the source scan: nearest unit in each stack, vote over stacks.

A source scan (the ClosedLoopScan row with mei_source 1) is matched with each later scan of its loop_group. All somata
of the target scan are candidates; of the source scan, all are wanted where a match is judged by the others (`cells`).
"""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from neurostatic.problems import InputError, report_problems

POSITION_COLUMNS = ["x_um", "y_um", "z_um"]
COORDINATE_COLUMNS = ["stack", "unit_id", *POSITION_COLUMNS]
BEST_COLUMNS = ["src_unit_id", "unit_id", "match_freq", "total_stacks", "mean_distance_um", "shared"]
MATCH_COLUMNS = ["src_unit_id", "stack", "unit_id", "match_distance_um"]
FARTHEST_UM = 1e9  # nothing is farther away; the squares of larger numbers may overflow


def proximity_match(source: pd.DataFrame, target: pd.DataFrame) -> pd.DataFrame:
    """The target unit nearest to each source unit, in every stack that both share (ProximityCellMatch).

    distance = sqrt(dx^2 + dy^2 + dz^2); ties go to the lowest unit_id. There is no limit of distance, and
    several source units may share a target (`best_match` counts them). A unit without a position (NaN) in a
    stack takes no part in that stack.

    Args:
        source, target: stack, unit_id, x_um, y_um, z_um; one row per stack and unit.

    Returns:
        One row per source unit and shared stack: src_unit_id, stack, unit_id, match_distance_um.

    Raises:
        InputError: missing columns, units listed twice in a stack, positions that are no numbers, or no stack
            in which both scans have a unit with a position.
    """
    source, target = placed_units(source, target)
    shared = shared_stacks(source, target)
    if not shared:
        names = [", ".join(map(str, sorted(set(table["stack"])))) or "none" for table in (source, target)]
        raise InputError(
            "cell match: the two scans share no stack in which both have units with a position "
            f"(source: {names[0]}; target: {names[1]})"
        )
    matches = []
    for stack in shared:
        sources = source[source["stack"] == stack].sort_values("unit_id")
        candidates = target[target["stack"] == stack].sort_values("unit_id")
        nearest, distance_um = _nearest(*(table[POSITION_COLUMNS].to_numpy(float) for table in (sources, candidates)))
        match = {
            "src_unit_id": sources["unit_id"].to_numpy(),
            "stack": stack,
            "unit_id": candidates["unit_id"].to_numpy()[nearest],
            "match_distance_um": distance_um,
        }
        matches.append(pd.DataFrame(match))
    return pd.concat(matches, ignore_index=True).sort_values(["src_unit_id", "stack"], ignore_index=True)


def placed_units(source: pd.DataFrame, target: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of both tables that have a position; InputError, as of `proximity_match`, if a table is malformed."""
    report_problems("cell match", _coordinate_problems("source", source) + _coordinate_problems("target", target))
    return source[COORDINATE_COLUMNS].dropna(), target[COORDINATE_COLUMNS].dropna()


def shared_stacks(source: pd.DataFrame, target: pd.DataFrame) -> list[str]:
    """The stacks, in ascending order, that both tables name."""
    return sorted(set(source["stack"]) & set(target["stack"]))


def best_match(matches: pd.DataFrame) -> pd.DataFrame:
    """The target unit most stacks vote for, per source unit (BestProximityCellMatch).

    Ties: the highest count, then the smallest mean distance, then the smallest unit_id (upstream left ties to
    the library it used). mean_distance_um is over the stacks that voted for the winner.

    Args:
        matches: rows of `proximity_match`, src_unit_id, stack, unit_id, match_distance_um.

    Returns:
        One row per source unit: src_unit_id, unit_id, match_freq (votes for the winner), total_stacks,
        mean_distance_um, shared (source units whose winner is this target; 1 = its only one).

    Raises:
        InputError: missing columns, no rows, or two votes of one stack for a source unit.
    """
    require_columns("cell matches", matches, MATCH_COLUMNS)
    problems = [] if len(matches) else ["there are no rows"]
    for row in matches[matches.duplicated(["src_unit_id", "stack"])].itertuples():
        problems.append(f"source unit {row.src_unit_id} has more than one match in stack {row.stack}")
    report_problems("cell matches", problems)
    # Sorted by distance first, so that the mean's last digit does not depend on the order of the stacks.
    votes = (
        matches.sort_values("match_distance_um")
        .groupby(["src_unit_id", "unit_id"], as_index=False)["match_distance_um"]
        .agg(match_freq="size", mean_distance_um="mean")
    )
    votes["total_stacks"] = votes.groupby("src_unit_id")["match_freq"].transform("sum")
    order = ["src_unit_id", "match_freq", "mean_distance_um", "unit_id"]
    votes = votes.sort_values(order, ascending=[True, False, True, True])
    best = votes.drop_duplicates("src_unit_id", ignore_index=True)
    best["shared"] = best.groupby("unit_id")["src_unit_id"].transform("size")
    return best[BEST_COLUMNS]


def checked_unit_map(unit_map: pd.DataFrame) -> pd.DataFrame:
    """Columns src_unit_id, unit_id of a table of matches; InputError if missing or sources twice."""
    require_columns("unit map", unit_map, ["src_unit_id", "unit_id"])
    twice = unit_map.loc[unit_map["src_unit_id"].duplicated(), "src_unit_id"].unique()
    report_problems("unit map", [f"source unit {unit} is listed more than once" for unit in twice])
    return unit_map[["src_unit_id", "unit_id"]]


def is_constant(values: np.ndarray) -> np.ndarray:
    """Columns whose rows are all equal; exact, where a standard deviation can come out as 1e-17."""
    return (values == values[:1]).all(0)


def _nearest(here_um: np.ndarray, there_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index and distance of the point of `there_um` (there, axis) nearest to each of `here_um`; the first on ties.

    A tree finds all points about as near as the nearest; among these the distances, computed in full, decide.
    """
    tree = cKDTree(there_um)
    about_um = tree.query(here_um)[0] * (1 + 1e-9) + 1e-9  # wider than the tree's rounding
    found = tree.query_ball_point(here_um, about_um, return_sorted=True)
    here = np.repeat(np.arange(len(found)), [len(points) for points in found])
    there = np.concatenate(found).astype(int)
    distance_um = np.sqrt(((here_um[here] - there_um[there]) ** 2).sum(-1))
    order = np.lexsort([there, distance_um, here])
    first = order[np.unique(here[order], return_index=True)[1]]
    return there[first], distance_um[first]


def require_columns(what: str, table: pd.DataFrame, columns: list[str]) -> None:
    """InputError that names all columns which a table lacks."""
    missing = [column for column in columns if column not in table.columns]
    report_problems(what, [f"column '{column}' is missing" for column in missing])


def twice_in_a_stack(name: str, table: pd.DataFrame) -> list[str]:
    """A problem if any unit has two rows in a stack; it names the first and counts the others."""
    twice = table[table.duplicated(["stack", "unit_id"])]
    if twice.empty:
        return []
    others = f", as are {len(twice) - 1} more rows" if len(twice) > 1 else ""
    first = twice.iloc[0]
    return [f"{name}: unit {first['unit_id']} is listed more than once in stack {first['stack']}{others}"]


def _coordinate_problems(name: str, table: pd.DataFrame) -> list[str]:
    problems = [f"{name}: column '{c}' is missing" for c in COORDINATE_COLUMNS if c not in table.columns]
    if problems:
        return problems
    problems += twice_in_a_stack(name, table)
    for column in POSITION_COLUMNS:
        if not pd.api.types.is_numeric_dtype(table[column]):
            problems.append(f"{name}: column '{column}' holds something that is no number")
        elif (np.abs(table[column].to_numpy(float)) > FARTHEST_UM).any():
            problems.append(f"{name}: column '{column}' holds an infinite value, or one beyond {FARTHEST_UM:.0e} um")
    return problems
