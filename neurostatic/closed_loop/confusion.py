"""How every matched unit responded to every unit's image: one scan's table, the pool of a loop, its diagonal.

Rows of a confusion matrix are images (image_unit_id, the unit the image was made for), columns are cells
(matched_unit_id). Both are ids of the source scan; target_unit_id is the matched cell's own id in its scan.
"""

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.closed_loop.matching import checked_unit_map, is_constant
from neurostatic.statistics import benjamini_hochberg, welch_from_summary
from neurostatic.store import InputError, report_problems

RESPONSES = ("raw", "normalized", "zscore")
# Image class -> what the image is to the cell: its MEI by the CNN, its RF by the linear model, or another control.
MODEL_TYPES = {
    "multi_cnn_mei": "cnn",
    "multi_lin_rf": "linear",
    "gabor": "gabor",
    "masked_mei": "masked_mei",
    "masked_imagenet": "masked_natural",
}
PUBLISHED_PAIR = ("cnn", "linear")
ENTRY = ["model_type", "image_unit_id", "matched_unit_id"]  # what names one cell of the confusion matrices


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
        InputError: lengths that differ, units twice, matches that are not in the scan, no trial to average.
    """
    responses = np.asarray(responses, dtype=float)
    units, trial_class = pd.Index(unit_ids), np.asarray(trial_class)
    trial_owner, trial_centered = np.asarray(trial_owner), np.asarray(trial_centered, dtype=bool)
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
        raise InputError(
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
    rows = pd.concat(tables, ignore_index=True)
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
    known = sorted(set(table["model_type"]))
    if model_type not in known:
        raise InputError(f"confusion matrix: no images of model type '{model_type}', only {', '.join(known)}")
    units = sorted(set(table["image_unit_id"]) | set(table["matched_unit_id"]))
    rows = table[table["model_type"] == model_type]
    square = rows.pivot(index="image_unit_id", columns="matched_unit_id", values="mu_resp")
    return xr.DataArray(
        square.reindex(index=units, columns=units).to_numpy(),
        dims=("image_unit_id", "matched_unit_id"),
        coords={"image_unit_id": units, "matched_unit_id": units},
        name="mu",
    )


def confusion_dataset(summaries: dict[tuple[str, str], pd.DataFrame]) -> xr.Dataset:
    """Pack pooled confusions as arrays mu, sem, n (kind, response, model_type, image_unit_id, matched_unit_id).

    Args:
        summaries: (kind of stimulus set, kind of response) -> table of `pool_confusions`.

    Returns:
        mu, sem (NaN where there is no entry) and n (trials; 0 where there is none). Both unit dimensions hold
        every unit of any table, so the diagonal is the diagonal.
    """
    tables = list(summaries.values())
    model_types = sorted(set().union(*(table["model_type"] for table in tables)))
    units = sorted(set().union(*(table[column] for table in tables for column in ENTRY[1:])))
    kinds, responses = (list(dict.fromkeys(names)) for names in zip(*summaries, strict=True))
    shape = (len(kinds), len(responses), len(model_types), len(units), len(units))
    mu, sem, n = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=int)
    for (kind, response), table in summaries.items():
        labels = (model_types, units, units)
        entries = (pd.Index(k).get_indexer(table[c]) for k, c in zip(labels, ENTRY, strict=True))
        cell = (kinds.index(kind), responses.index(response), *entries)
        mu[cell], sem[cell], n[cell] = table["mu_resp"], table["sem_resp"], table["n_repeats"]
    dims = ("kind", "response", *ENTRY)
    return xr.Dataset(
        {"mu": (dims, mu), "sem": (dims, sem), "n": (dims, n)},
        coords={
            "kind": np.array(kinds, dtype=str),
            "response": np.array(responses, dtype=str),
            "model_type": np.array(model_types, dtype=str),
            "image_unit_id": units,
            "matched_unit_id": units,
        },
    )


def diagonal_entries(summary: pd.DataFrame, pair: tuple[str, str] = PUBLISHED_PAIR) -> pd.DataFrame:
    """Each unit's response to its own MEI against its own control, as the RF (SummaryConfusionDiagonalEntry).

    diff = mei - control, diff_sem = sqrt(mei_sem^2 + control_sem^2), t = diff / diff_sem; Welch's two-tailed p, and its
    Benjamini-Hochberg q over the units. Ranks count from 0 in descending order, ties by unit_id, NaN last.

    Args:
        summary: table of `pool_confusions`.
        pair: model_type of the MEIs and of the controls.

    Returns:
        One row per unit with both images: unit_id, mei_resp, mei_sem, mei_n, control_resp, control_sem, control_n,
        diff_resp, diff_sem, t_diff, diff_rank, t_rank, df, p_value, q_value.
    """
    own = summary[summary["image_unit_id"] == summary["matched_unit_id"]].set_index("image_unit_id")
    own = own.rename(columns={"mu_resp": "resp", "sem_resp": "sem", "n_repeats": "n"})
    mei, control = (
        own.loc[own["model_type"] == model_type, ["resp", "sem", "n"]].add_prefix(prefix)
        for model_type, prefix in zip(pair, ("mei_", "control_"), strict=True)
    )
    entries = mei.join(control, how="inner").sort_index().rename_axis("unit_id").reset_index()
    mei_summary, control_summary = (
        [entries[f"{prefix}_{name}"] for name in ("resp", "sem", "n")] for prefix in ("mei", "control")
    )
    t, df, p = welch_from_summary(*mei_summary, *control_summary)
    entries["diff_resp"] = entries["mei_resp"] - entries["control_resp"]
    entries["diff_sem"] = np.sqrt(entries["mei_sem"] ** 2 + entries["control_sem"] ** 2)
    entries["t_diff"] = t
    entries["diff_rank"] = _descending_rank(entries["diff_resp"])
    entries["t_rank"] = _descending_rank(entries["t_diff"])
    return entries.assign(df=df, p_value=p, q_value=benjamini_hochberg(p))


def diagonal_targets(tables: list[pd.DataFrame], pair: tuple[str, str] = PUBLISHED_PAIR) -> pd.DataFrame:
    """Which target unit each source unit was matched to, and its trials, scan by scan.

    Args:
        tables: one table of `scan_confusion` per scan.
        pair: model_type of the MEIs and of the controls.

    Returns:
        unit_id, target_unit_id, mei_scan_n, control_scan_n: one value a scan in the order of the tables, joined by ';',
        empty where the unit was not matched (or its image not shown) in that scan.
    """
    columns = []
    for table in tables:
        own = table[table["image_unit_id"] == table["matched_unit_id"]].set_index("image_unit_id")
        n = own.pivot(columns="model_type", values="n_repeats").reindex(columns=list(pair))
        n = n.rename(columns=dict(zip(pair, ("mei_scan_n", "control_scan_n"), strict=True)))
        columns.append(n.assign(target_unit_id=own["target_unit_id"].groupby(level=0).first()).astype("Int64"))
    units = sorted(set().union(*(column.index for column in columns)))
    joined = pd.DataFrame({"unit_id": units})
    for name in ("target_unit_id", "mei_scan_n", "control_scan_n"):
        values = [column[name].reindex(units).astype("string").fillna("") for column in columns]
        joined[name] = [";".join(row) for row in zip(*values, strict=True)]
    return joined


def _scaled(cells: np.ndarray, response: str) -> np.ndarray:
    if response == "raw":
        return cells
    with np.errstate(invalid="ignore", divide="ignore"):
        # A single trial, like a constant cell, has no spread.
        spread = cells.std(0, ddof=1) if len(cells) > 1 else np.full(cells.shape[1], np.nan)
        spread[is_constant(cells)] = np.nan
        return (cells - (cells.mean(0) if response == "zscore" else 0.0)) / spread


def _descending_rank(values: pd.Series) -> pd.Series:
    # Rows are in the order of unit_id, so the first of equals is the lowest id.
    return values.rank(method="first", ascending=False, na_option="bottom").astype(int) - 1
