"""Which unit of a later scan is which unit of the source scan: place in a stack, nearest unit, vote.

A source scan (the ClosedLoopScan row with mei_source 1) is matched with each later scan of its loop_group.
The caller gives only the units that may be matched: source units that own an MEI, targets of mask type soma.
"""

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.statistics import pearson
from neurostatic.store import InputError, report_problems

POSITION_COLUMNS = ["x_um", "y_um", "z_um"]
COORDINATE_COLUMNS = ["stack", "unit_id", *POSITION_COLUMNS]
MATCH_COLUMNS = ["src_unit_id", "stack", "unit_id", "match_distance_um"]


def stack_grid(px_height: int, px_width: int, um_height: float, um_width: float) -> np.ndarray:
    """Positions of a field's pixels in the field's own plane, its center at (0, 0) (StackCoordinates).

    Returns:
        (px_height, px_width, 2) positions (x, y) in um.
    """
    y_um = _centered(np.arange(px_height), px_height, um_height)
    x_um = _centered(np.arange(px_width), px_width, um_width)
    return np.stack(np.meshgrid(x_um, y_um), axis=-1)


def stack_coordinates(
    px_x: np.ndarray,
    px_y: np.ndarray,
    px_height: int,
    px_width: int,
    um_height: float,
    um_width: float,
    affine: np.ndarray,
    offset_um: np.ndarray,
    outside_um: float = np.nan,
) -> np.ndarray:
    """Positions of units in a stack, by the affine registration of their field (StackCoordinates).

    p = A (x, y)^T + b, with (x, y) as in `stack_grid`. Upstream reads three coordinate maps bilinearly; of an
    affine map that is the map itself. A position outside the field has no place in the stack: NaN. Upstream
    put it at the origin, where it could be matched (`outside_um=0` is that variant).

    Args:
        px_x, px_y: (unit,) positions in the field in px; the first pixel's center is 0.
        affine: (3, 2) matrix A, um per um.
        offset_um: (3,) offset b of the field's center.

    Returns:
        (unit, 3) positions (x, y, z) in um.
    """
    px_x, px_y = np.asarray(px_x, dtype=float), np.asarray(px_y, dtype=float)
    affine, offset_um = np.asarray(affine, dtype=float), np.asarray(offset_um, dtype=float)
    problems = []
    if px_x.ndim != 1 or px_x.shape != px_y.shape:
        problems.append(f"px_x and px_y must be two lists of one length, not {px_x.shape} and {px_y.shape}")
    if affine.shape != (3, 2) or offset_um.shape != (3,):
        problems.append(f"affine must be (3, 2) and offset_um (3,), not {affine.shape} and {offset_um.shape}")
    report_problems("stack coordinates", problems)
    plane = np.stack([_centered(px_x, px_width, um_width), _centered(px_y, px_height, um_height)], axis=-1)
    inside = (px_x >= 0) & (px_x <= px_width - 1) & (px_y >= 0) & (px_y <= px_height - 1)
    return np.where(inside[:, None], plane @ affine.T + offset_um, outside_um)


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
    problems = _coordinate_problems("source", source) + _coordinate_problems("target", target)
    report_problems("proximity match", problems)
    source, target = (table.dropna(subset=POSITION_COLUMNS) for table in (source, target))
    shared = sorted(set(source["stack"]) & set(target["stack"]))
    if not shared:
        names = [", ".join(map(str, sorted(set(table["stack"])))) or "none" for table in (source, target)]
        raise InputError(
            "proximity match: the two scans share no stack in which both have units with a position "
            f"(source: {names[0]}; target: {names[1]})"
        )
    matches = []
    for stack in shared:
        sources = source[source["stack"] == stack].sort_values("unit_id")
        candidates = target[target["stack"] == stack].sort_values("unit_id")
        here_um, there_um = (table[POSITION_COLUMNS].to_numpy(float) for table in (sources, candidates))
        distance_um = np.sqrt(((here_um[:, None] - there_um) ** 2).sum(-1))
        nearest = distance_um.argmin(1)  # the first on ties: the lowest unit_id
        match = {
            "src_unit_id": sources["unit_id"].to_numpy(),
            "stack": stack,
            "unit_id": candidates["unit_id"].to_numpy()[nearest],
            "match_distance_um": distance_um.min(1),
        }
        matches.append(pd.DataFrame(match))
    return pd.concat(matches, ignore_index=True).sort_values(["src_unit_id", "stack"], ignore_index=True)


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
    _require_columns("cell matches", matches, MATCH_COLUMNS)
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
    return best[["src_unit_id", "unit_id", "match_freq", "total_stacks", "mean_distance_um", "shared"]]


def match_oracle_correlation(
    source: xr.DataArray, target: xr.DataArray, unit_map: pd.DataFrame, min_repeats: int = 5
) -> xr.DataArray:
    """How alike source units and matched targets respond to repeated images (CellMatchOracleCorrelation).

    Pearson correlation over the images shown at least `min_repeats` times in both scans, of the responses
    averaged over repeats. A good match shows as a diagonal above the rest. (Upstream z-scores each cell
    first, which leaves a correlation as it is.) A constant unit gives NaN.

    Args:
        source, target: responses (trial, unit); coordinates unit_id (unit), image_class, image_id (trial).
        unit_map: src_unit_id, unit_id of the matched target.

    Returns:
        (source_unit_id, matched_unit_id) correlations; both are ids of the source scan, ascending.

    Raises:
        InputError: units of unit_map missing from a scan, or fewer than 3 repeated images in common.
    """
    unit_map = checked_unit_map(unit_map).sort_values("src_unit_id")
    means = []
    for name, responses, column in [("source", source, "src_unit_id"), ("target", target, "unit_id")]:
        unknown = sorted(set(unit_map[column]) - set(responses["unit_id"].values.tolist()))
        report_problems(f"match quality, {name} scan", [f"unit {unit} is not in it" for unit in unknown])
        responses = responses.transpose("trial", "unit")
        columns = pd.Index(responses["unit_id"].values).get_indexer(unit_map[column])
        values = responses.values[:, columns].astype(float)
        values[:, is_constant(values)] = np.nan
        images = [responses["image_class"].values, responses["image_id"].values]
        groups = pd.DataFrame(values).groupby(images)
        means.append(groups.mean(skipna=False)[groups.size() >= min_repeats])
    shared = means[0].index.intersection(means[1].index)
    if len(shared) < 3:
        raise InputError(
            f"match quality: {len(shared)} images were shown {min_repeats} times or more in both scans; "
            "at least 3 are needed"
        )
    a, b = (mean.loc[shared].to_numpy() for mean in means)
    correlation = pearson(*np.broadcast_arrays(a[:, :, None], b[:, None, :]))
    ids = unit_map["src_unit_id"].to_numpy()
    return xr.DataArray(
        correlation,
        dims=("source_unit_id", "matched_unit_id"),
        coords={"source_unit_id": ids, "matched_unit_id": ids},
        name="correlation",
    )


def checked_unit_map(unit_map: pd.DataFrame) -> pd.DataFrame:
    """Columns src_unit_id, unit_id of a table of matches; InputError if missing, empty or sources twice."""
    _require_columns("unit map", unit_map, ["src_unit_id", "unit_id"])
    problems = [] if len(unit_map) else ["no source unit is matched in this scan"]
    for unit in unit_map.loc[unit_map["src_unit_id"].duplicated(), "src_unit_id"].unique():
        problems.append(f"source unit {unit} is listed more than once")
    report_problems("unit map", problems)
    return unit_map[["src_unit_id", "unit_id"]]


def is_constant(values: np.ndarray) -> np.ndarray:
    """Columns whose rows are all equal; exact, where a standard deviation can come out as 1e-17."""
    return (values == values[:1]).all(0)


def _centered(px: np.ndarray, n_px: int, size_um: float) -> np.ndarray:
    return (np.asarray(px, dtype=float) - (n_px - 1) / 2) * (size_um / n_px)


def _require_columns(what: str, table: pd.DataFrame, columns: list[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    report_problems(what, [f"column '{column}' is missing" for column in missing])


def _coordinate_problems(name: str, table: pd.DataFrame) -> list[str]:
    problems = [f"{name}: column '{c}' is missing" for c in COORDINATE_COLUMNS if c not in table.columns]
    if problems:
        return problems
    for row in table[table.duplicated(["stack", "unit_id"])].itertuples():
        problems.append(f"{name}: unit {row.unit_id} is listed more than once in stack {row.stack}")
    for column in POSITION_COLUMNS:
        if not pd.api.types.is_numeric_dtype(table[column]):
            problems.append(f"{name}: column '{column}' holds something that is no number")
        elif np.isinf(table[column].to_numpy(float)).any():
            problems.append(f"{name}: column '{column}' holds an infinite value")
    return problems
