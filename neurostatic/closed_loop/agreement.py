"""Whether matched units agree in what they respond to: the quality of matches, judged without their positions."""

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.closed_loop.confusion import NothingToCompareError
from neurostatic.closed_loop.matching import checked_unit_map, is_constant
from neurostatic.problems import InputError, report_problems
from neurostatic.resampling import complete_units, diagonal_test
from neurostatic.statistics import pearson


def match_oracle_correlation(
    source: xr.DataArray, target: xr.DataArray, unit_map: pd.DataFrame, min_repeats: int = 5
) -> xr.DataArray:
    """How alike source units and matched targets respond to repeated images (CellMatchOracleCorrelation).

    Pearson correlation over the images shown at least `min_repeats` times in both scans, of the responses
    averaged over repeats. A good match shows as a diagonal above the rest. (Upstream z-scores each cell
    first, which leaves a correlation as it is.) A constant unit, or one with a missing response to one of these
    images, gives NaN.

    Args:
        source, target: responses (trial, unit); coordinates unit_id (unit), image_class, image_id (trial).
        unit_map: src_unit_id, unit_id of the matched target.
        min_repeats: presentations from which on an image counts, in both scans.

    Returns:
        (source_unit_id, matched_unit_id) correlations; both are ids of the source scan, ascending. Attribute:
        n_images.

    Raises:
        NothingToCompareError: no match, or fewer than 3 repeated images in common.
        InputError: units of unit_map missing from a scan.
    """
    if unit_map.empty:
        raise NothingToCompareError("match quality: no cell was found again")
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
        raise NothingToCompareError(
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
        attrs={"n_images": len(shared)},
        name="correlation",
    )


def match_agreement(
    correlation: xr.DataArray, n_permutations: int = 10_000, seed: int | np.random.Generator = 0
) -> dict[str, float]:
    """How far the own match stands out among the correlations of `match_oracle_correlation`.

    own = mean_i r_ii, other = mean_{i != j} r_ij; own_best_fraction: of the matched cells that correlate with their own
    source unit more than with any other. p_value is of the sum of r_ii against re-matched cells (`diagonal_test`),
    one-sided. All of the units that are left when those with missing correlations are dropped.

    Args:
        correlation: (source_unit_id, matched_unit_id), both of the same ids in one order.

    Returns:
        n_units, own, other, own_best_fraction, p_value; NaN with fewer than 2 units.

    Raises:
        InputError: the two dimensions have different ids.
    """
    correlation = correlation.transpose("source_unit_id", "matched_unit_id")
    if not np.array_equal(correlation["source_unit_id"], correlation["matched_unit_id"]):
        raise InputError("match agreement: source_unit_id and matched_unit_id must be the same ids in one order")
    keep = complete_units(correlation.values)
    values = correlation.values[np.ix_(keep, keep)]
    n_units = len(values)
    names = ("own", "other", "own_best_fraction", "p_value")
    if n_units < 2:
        return {"n_units": n_units, **dict.fromkeys(names, np.nan)}
    found = diagonal_test([values], n_permutations, seed)
    other = values[~np.eye(n_units, dtype=bool)].mean()
    judged = (found.trace / n_units, float(other), found.n_best / n_units, found.trace_p)
    return {"n_units": n_units, **dict(zip(names, judged, strict=True))}


def image_slip(matrix: xr.DataArray, listed: list[int]) -> tuple[int, int]:
    """By how many rows the list of the shown images may have slipped.

    Of each cell the distance, in the order of the list, from its own image to the one that it responds to most; the
    distance of most cells, the smaller of equals.

    Args:
        matrix: (image_unit_id, matched_unit_id) mean responses, NaN where there is none.
        listed: units in the order of their images in the list.

    Returns:
        distance (0 where nothing slipped), number of cells at it; 0, 0 without a cell.
    """
    values = matrix.transpose("image_unit_id", "matched_unit_id").values
    answered = np.isfinite(values).any(0)
    place = pd.Index(listed)
    best = matrix["image_unit_id"].values[np.nan_to_num(values[:, answered], nan=-np.inf).argmax(0)]
    distance = place.get_indexer(best) - place.get_indexer(matrix["matched_unit_id"].values[answered])
    if not len(distance):
        return 0, 0
    found, counts = np.unique(distance, return_counts=True)
    most = min(found[counts == counts.max()], key=abs)
    return int(most), int(counts.max())
