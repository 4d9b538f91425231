"""How every matched unit responded to every unit's image: one scan's table, and the pool of a loop.

Rows of a confusion matrix are images (image_unit_id, the unit the image was made for), columns are cells
(matched_unit_id). Both are ids of the source scan; target_unit_id is the matched cell's own id in its scan.
"""

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.closed_loop.matching import checked_unit_map, is_constant
from neurostatic.problems import InputError, report_problems

RESPONSES = ("raw", "normalized", "zscore")
TESTED = RESPONSES[1:]
# Image class -> what the image is to the cell: its MEI by the CNN, its RF by the linear model, or another control.
MODEL_TYPES = {
    "multi_cnn_mei": "cnn",
    "multi_lin_rf": "linear",
    "gabor": "gabor",
    "masked_mei": "masked_mei",
    "masked_imagenet": "masked_natural",
}
ENTRY = ["model_type", "image_unit_id", "matched_unit_id"]  # what names one cell of the confusion matrices
SCAN_COLUMNS = [*ENTRY, "target_unit_id", "mu_resp", "var_resp", "n_repeats"]
NOT_MATCHED = -1


class NothingToCompareError(InputError):
    """There is nothing to average or to correlate: no cell found again, no trial of its image, or too few repeats."""


def scan_confusion(
    responses: np.ndarray,
    unit_ids: np.ndarray,
    trial_class: np.ndarray,
    trial_owner: np.ndarray,
    trial_centered: np.ndarray,
    unit_map: pd.DataFrame,
    response: str,
    model_types: dict[str, str] = MODEL_TYPES,
) -> pd.DataFrame:
    """Mean response of each matched cell to each unit's image in one scan.

    ClosedLoopConfusion (`raw`: R), NormalizedConfusion (`normalized`: R / std), ZScoreConfusion (`zscore`:
    (R - mean) / std). mean and std (ddof 1) of a cell are over all trials given, of every class and every
    shift; only then are the centered images of known owners taken. A constant cell has no scale: normalized
    and z-scored it is NaN, and so is a cell with a NaN in it. Neither touches the other cells.

    Args:
        responses: (trial, unit) all retained trials of the scan, not normalized.
        unit_ids: (unit,) ids in this scan.
        trial_class: (trial,) image class.
        trial_owner: (trial,) source unit the image was made for; anything not in unit_map for the others.
        trial_centered: (trial,) whether the image was shown without a shift.
        unit_map: src_unit_id, unit_id of the matched cell in this scan (`best_match`).
        response: raw | normalized | zscore.
        model_types: image class -> model_type; trials of other classes only enter the mean and std.

    Returns:
        model_type, image_unit_id, matched_unit_id, target_unit_id, mu_resp, var_resp (ddof 0), n_repeats.

    Raises:
        NothingToCompareError: no matched unit, or no trial to average.
        InputError: lengths that differ, units twice, matches that are not in the scan.
    """
    responses = np.asarray(responses, dtype=float)
    units, trial_class = pd.Index(unit_ids), np.asarray(trial_class)
    trial_owner, trial_centered = np.asarray(trial_owner), np.asarray(trial_centered, dtype=bool)
    if unit_map.empty:
        raise NothingToCompareError("confusion of a scan: no cell that owns an image was found again in it")
    unit_map = checked_unit_map(unit_map).sort_values("src_unit_id")
    problems = []
    if response not in RESPONSES:
        problems.append(f"response '{response}' is unknown; allowed: {', '.join(RESPONSES)}")
    if responses.ndim != 2 or responses.shape[1] != len(units):
        problems.append(f"responses {responses.shape} must be (trial, {len(units)} unit_ids)")
    elif np.isinf(responses).any():
        problems.append("responses hold infinite values")
    trials = {"trial_class": trial_class, "trial_owner": trial_owner, "trial_centered": trial_centered}
    for name, values in trials.items():
        if values.shape != responses.shape[:1]:
            problems.append(f"{name} has shape {values.shape} for {len(responses)} trials")
    problems += [f"unit {unit} is listed more than once" for unit in units[units.duplicated()].unique()]
    unknown = sorted(set(unit_map["unit_id"]) - set(units))
    problems += [f"matched unit {unit} is not in the scan" for unit in unknown]
    report_problems("confusion of a scan", problems)

    source_ids = unit_map["src_unit_id"].to_numpy()
    cells = _scaled(responses[:, units.get_indexer(unit_map["unit_id"])], response)
    image_unit = pd.Index(source_ids).get_indexer(pd.Index(trial_owner))
    model_type = pd.Series(trial_class).map(model_types)
    kept = trial_centered & (image_unit >= 0) & model_type.notna().to_numpy()
    if not kept.any():
        raise NothingToCompareError(
            "confusion of a scan: no trial shows a centered image of class "
            f"{' or '.join(model_types)} made for a matched unit (trials that are centered: "
            f"{trial_centered.sum()}, with a matched owner: {(image_unit >= 0).sum()}, "
            f"of such a class: {model_type.notna().sum()})"
        )
    groups = pd.DataFrame(cells[kept]).groupby([model_type[kept].to_numpy(), source_ids[image_unit[kept]]])
    mean, variance = groups.mean(skipna=False), groups.var(ddof=0, skipna=False)
    n_images, n_cells = mean.shape
    keys = mean.index
    return pd.DataFrame(
        {
            "model_type": np.repeat(keys.get_level_values(0), n_cells),
            "image_unit_id": np.repeat(keys.get_level_values(1), n_cells),
            "matched_unit_id": np.tile(source_ids, n_images),
            "target_unit_id": np.tile(unit_map["unit_id"].to_numpy(), n_images),
            "mu_resp": mean.to_numpy().ravel(),
            "var_resp": variance.to_numpy().ravel(),
            "n_repeats": np.repeat(groups.size().to_numpy(), n_cells),
        }
    )


def set_confusion(
    responses: np.ndarray,
    unit_ids: np.ndarray,
    images: pd.MultiIndex,
    manifest: pd.DataFrame,
    source: str,
    unit_map: pd.DataFrame,
    pair: tuple[str, str],
) -> pd.DataFrame:
    """Confusion of one scan and one stimulus set, raw, normalized and z-scored (`scan_confusion`).

    Args:
        responses: (trial, unit), unit_ids: (unit,), unit_map: as for `scan_confusion`.
        images: (trial,) image_class and image_id of what was shown.
        manifest: of the stimulus set: image_class, image_id, owner_scan, owner_unit_id, x_shift, y_shift. Trials of
            other images, or of images made for units of another scan than `source`, only enter mean and std.
        pair: model_type of the set's MEIs and of its controls.

    Returns:
        The table of `scan_confusion` with a column response.

    Raises:
        NothingToCompareError: as `scan_confusion`, or no MEI of a matched unit was shown.
        InputError: as `scan_confusion`, or an image stands twice in the manifest.
    """
    twice = manifest[manifest.duplicated(["image_class", "image_id"])]
    names = [f"{row.image_class}/{row.image_id} is listed more than once" for row in twice.itertuples()]
    report_problems("manifest of a stimulus set", names)
    model_types = {image_class: name for image_class, name in MODEL_TYPES.items() if name in pair}
    trials = manifest.set_index(["image_class", "image_id"]).reindex(images)
    ours = trials["owner_scan"] == source
    owner = trials["owner_unit_id"].where(ours, NOT_MATCHED).fillna(NOT_MATCHED).astype(int).to_numpy()
    centered = ((trials["x_shift"] == 0) & (trials["y_shift"] == 0)).to_numpy()
    image_class = images.get_level_values(0).to_numpy()
    tables = [
        scan_confusion(responses, unit_ids, image_class, owner, centered, unit_map, response, model_types).assign(
            response=response
        )
        for response in RESPONSES
    ]
    if not (tables[0]["model_type"] == pair[0]).any():
        raise NothingToCompareError(
            "confusion of a scan: no trial shows a centered MEI of a matched unit, only controls"
        )
    return pd.concat(tables, ignore_index=True)


def pool_confusions(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Pool the scans of one loop, every trial with the same weight (SummaryConfusion, ZSummaryConfusion).

    N = sum n, mu = sum n mu_s / N, var = (sum n var_s + sum n (mu_s - mu)^2) / (N - 1), sem = sqrt(var / N):
    the mean and unbiased variance of the concatenated trials. Centered sums, so var is never negative. An
    entry seen in only some scans is pooled over those; NaN entries of a scan take no part. N = 1: sem is NaN.

    Args:
        tables: one table of `scan_confusion` per scan, all of one kind of response. A single raw one gives
            the sem of ClosedLoopConfusion.

    Returns:
        model_type, image_unit_id, matched_unit_id, mu_resp, var_resp (ddof 1), sem_resp, n_repeats, n_scans.

    Raises:
        InputError: no table, or an entry twice in one table.
    """
    problems = [] if tables else ["there is no scan"]
    problems += [f"table {i} lists an entry twice" for i, t in enumerate(tables) if t.duplicated(ENTRY).any()]
    report_problems("pooled confusion", problems)
    # A skipped scan's table has no rows, and, read from a file, no types.
    types = dict.fromkeys(ENTRY[1:], int) | {"mu_resp": float, "var_resp": float, "n_repeats": int}
    rows = pd.concat(tables, ignore_index=True).astype(types)
    rows["n"] = rows["n_repeats"].where(rows["mu_resp"].notna(), 0)
    rows["sum"] = (rows["n"] * rows["mu_resp"]).fillna(0.0)
    totals = rows.groupby(ENTRY)[["n", "sum"]].transform("sum")
    mean = totals["sum"] / totals["n"].where(totals["n"] > 0)
    rows["squares"] = (rows["n"] * (rows["var_resp"] + (rows["mu_resp"] - mean) ** 2)).fillna(0.0)
    rows["n_scans"] = (rows["n"] > 0).astype(int)
    pooled = rows.groupby(ENTRY, as_index=False)[["n", "sum", "squares", "n_scans"]].sum()
    n = pooled["n"]
    pooled["mu_resp"] = pooled["sum"] / n.where(n > 0)
    pooled["var_resp"] = pooled["squares"] / (n - 1).where(n > 1)
    pooled["sem_resp"] = np.sqrt(pooled["var_resp"] / n.where(n > 1))
    pooled["n_repeats"] = n.astype(int)
    return pooled[[*ENTRY, "mu_resp", "var_resp", "sem_resp", "n_repeats", "n_scans"]]


def confusion_matrix(table: pd.DataFrame, model_type: str) -> xr.DataArray:
    """Mean responses as a square matrix (image_unit_id, matched_unit_id), ids ascending, NaN where none.

    Raises InputError if the table holds no row of `model_type`.
    """
    known = sorted(table["model_type"].unique())
    if model_type not in known:
        raise InputError(f"confusion matrix: no images of model type '{model_type}', only {', '.join(known)}")
    units = np.union1d(table["image_unit_id"], table["matched_unit_id"])
    rows = table[table["model_type"] == model_type]
    square = rows.pivot(index="image_unit_id", columns="matched_unit_id", values="mu_resp")
    return xr.DataArray(
        square.reindex(index=units, columns=units).to_numpy(),
        dims=("image_unit_id", "matched_unit_id"),
        coords={"image_unit_id": units, "matched_unit_id": units},
        name="mu",
    )


def cells_without_scale(responses: np.ndarray, unit_ids: np.ndarray, unit_map: pd.DataFrame) -> pd.DataFrame:
    """Matched cells that are NaN normalized and z-scored, and why: constant, or with missing responses.

    Args:
        responses: (trial, unit); unit_ids: (unit,); unit_map: as for `scan_confusion`.

    Returns:
        src_unit_id, unit_id, reason.
    """
    responses = np.asarray(responses)
    cells = pd.DataFrame({"unit_id": unit_ids, "reason": ""})
    cells.loc[is_constant(responses), "reason"] = "responds alike in every trial: it cannot be normalized"
    cells.loc[np.isnan(responses).any(0), "reason"] = "has trials without a response: it cannot be normalized"
    return unit_map[["src_unit_id", "unit_id"]].merge(cells[cells["reason"] != ""], on="unit_id")


def confusion_dataset(
    summaries: dict[tuple[str, str], pd.DataFrame], unit_maps: dict[str, pd.DataFrame] | None = None
) -> xr.Dataset:
    """Pack pooled confusions as arrays mu, sem, n (kind, response, model_type, image_unit_id, matched_unit_id).

    Args:
        summaries: (kind of stimulus set, kind of response) -> table of `pool_confusions`; may have no rows.
        unit_maps: target scan -> src_unit_id, unit_id of its matches.

    Returns:
        mu, sem (NaN where there is no entry) and n (trials; 0 where there is none). Both unit dimensions hold
        every unit of any table, so the diagonal is the diagonal. target_unit_id (target, matched_unit_id): the matched
        cell's own id in each target scan, -1 where there is none.
    """
    tables, unit_maps = list(summaries.values()), unit_maps or {}
    model_types = sorted(set().union(*(table["model_type"].unique() for table in tables)))
    units = sorted(set().union(*(table[column].unique() for table in tables for column in ENTRY[1:])))
    kinds, responses = (list(dict.fromkeys(names)) for names in zip(*summaries, strict=True))
    shape = (len(kinds), len(responses), len(model_types), len(units), len(units))
    mu, sem, n = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=int)
    for (kind, response), table in summaries.items():
        labels = (model_types, units, units)
        entries = (pd.Index(k).get_indexer(table[c]) for k, c in zip(labels, ENTRY, strict=True))
        cell = (kinds.index(kind), responses.index(response), *entries)
        mu[cell], sem[cell], n[cell] = table["mu_resp"], table["sem_resp"], table["n_repeats"]
    target_unit_id = np.full((len(unit_maps), len(units)), NOT_MATCHED)
    for row, unit_map in zip(target_unit_id, unit_maps.values(), strict=True):
        matched = checked_unit_map(unit_map).set_index("src_unit_id")["unit_id"]
        row[:] = matched.reindex(units, fill_value=NOT_MATCHED)
    dims = ("kind", "response", *ENTRY)
    return xr.Dataset(
        {
            "mu": (dims, mu),
            "sem": (dims, sem),
            "n": (dims, n),
            "target_unit_id": (("target", "matched_unit_id"), target_unit_id),
        },
        coords={
            "kind": np.array(kinds, dtype=str),
            "response": np.array(responses, dtype=str),
            "model_type": np.array(model_types, dtype=str),
            "image_unit_id": np.array(units, dtype=int),
            "matched_unit_id": np.array(units, dtype=int),
            "target": np.array(list(unit_maps), dtype=str),
        },
    )


def _scaled(cells: np.ndarray, response: str) -> np.ndarray:
    if response == "raw":
        return cells
    with np.errstate(invalid="ignore", divide="ignore"):
        # A single trial, like a constant cell, has no spread.
        spread = cells.std(0, ddof=1) if len(cells) > 1 else np.full(cells.shape[1], np.nan)
        spread[is_constant(cells)] = np.nan
        return (cells - (cells.mean(0) if response == "zscore" else 0.0)) / spread
