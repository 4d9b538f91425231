"""The diagonals of confusion matrices: each unit's response to its own MEI against that to its own control."""

import numpy as np
import pandas as pd
import scipy

from neurostatic.closed_loop.confusion import MODEL_TYPES, pool_confusions
from neurostatic.config.sections import STIMULUS_SETS
from neurostatic.resampling import LEVEL
from neurostatic.statistics import benjamini_hochberg, hedges_g, welch_from_summary

PUBLISHED_PAIR = ("cnn", "linear")  # model_type of MEIs and of controls
ENTRY_COLUMNS = [
    "unit_id", "mei_resp", "mei_sem", "mei_n", "control_resp", "control_sem", "control_n", "diff_resp", "diff_sem",
    "t_diff", "diff_rank", "t_rank", "df", "p_value", "q_value", "diff_low", "diff_high", "hedges_g",
]  # fmt: skip
TARGET_COLUMNS = ["unit_id", "target_unit_id", "mei_scan_n", "control_scan_n"]
DIAGONAL_COLUMNS = [*ENTRY_COLUMNS, *TARGET_COLUMNS[1:]]


def pair_of(kind: str) -> tuple[str, str]:
    """model_type of the MEIs and of the controls of a kind of stimulus set."""
    mei, control = (MODEL_TYPES[image_class] for image_class in STIMULUS_SETS[kind])
    return mei, control


def diagonal_entries(summary: pd.DataFrame, pair: tuple[str, str] = PUBLISHED_PAIR) -> pd.DataFrame:
    """Each unit's response to its own MEI against its own control (SummaryConfusionDiagonalEntry and ZSummary...).

    diff = mei - control, diff_sem = sqrt(mei_sem^2 + control_sem^2), t = diff / diff_sem; Welch's two-tailed p, and its
    Benjamini-Hochberg q over the units; the 95 % interval of diff, diff -+ t_{0.975}(df) diff_sem, and as effect size
    Hedges' g over trials. Ranks count from 0 in descending order, ties by unit_id, NaN last. Of the table of a single
    scan pooled alone this is ConfusionDiagonalEntry.

    Args:
        summary: table of `pool_confusions`.
        pair: model_type of the MEIs and of the controls.

    Returns:
        One row per unit with both images: unit_id, mei_resp, mei_sem, mei_n, control_resp, control_sem, control_n,
        diff_resp, diff_sem, t_diff, diff_rank, t_rank, df, p_value, q_value, diff_low, diff_high, hedges_g.
    """
    own = summary[summary["image_unit_id"] == summary["matched_unit_id"]].set_index("image_unit_id")
    own = own.rename(columns={"mu_resp": "resp", "sem_resp": "sem", "n_repeats": "n"})
    mei, control = (
        own.loc[own["model_type"] == model_type, ["resp", "sem", "n"]].add_prefix(prefix)
        for model_type, prefix in zip(pair, ("mei_", "control_"), strict=True)
    )
    entries = mei.join(control, how="inner").sort_index().rename_axis("unit_id").reset_index()
    (mei, mei_sem, mei_n), (control, control_sem, control_n) = (
        [entries[f"{prefix}_{name}"] for name in ("resp", "sem", "n")] for prefix in ("mei", "control")
    )
    t, df, p = welch_from_summary(mei, mei_sem, mei_n, control, control_sem, control_n)
    entries["diff_resp"] = mei - control
    entries["diff_sem"] = np.sqrt(mei_sem**2 + control_sem**2)
    entries["t_diff"] = t
    entries["diff_rank"] = _descending_rank(entries["diff_resp"])
    entries["t_rank"] = _descending_rank(entries["t_diff"])
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, df) * entries["diff_sem"]
    entries = entries.assign(
        df=df,
        p_value=p,
        q_value=benjamini_hochberg(p),
        diff_low=entries["diff_resp"] - half,
        diff_high=entries["diff_resp"] + half,
        hedges_g=hedges_g(mei, mei_n * mei_sem**2, mei_n, control, control_n * control_sem**2, control_n),
    )
    return entries[ENTRY_COLUMNS]


def population_diagonal(summaries: dict[str, pd.DataFrame], pair: tuple[str, str] = PUBLISHED_PAIR) -> pd.DataFrame:
    """The diagonals of several source scans, with q over the cells of all of them.

    Args:
        summaries: source -> table of `pool_confusions`.
        pair: model_type of the MEIs and of the controls.

    Returns:
        source, and the columns of `diagonal_entries`, whose ranks are within a source.
    """
    entries = [diagonal_entries(summary, pair).assign(source=source) for source, summary in summaries.items()]
    found = pd.concat(entries, ignore_index=True)
    return found.assign(q_value=benjamini_hochberg(found["p_value"].to_numpy(float)))


def scan_diagonal(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Each unit's response to its own MEI against its own control in one scan (ConfusionDiagonalEntry).

    Args:
        table: of `set_confusion`; kind: of the stimulus set.

    Returns:
        response (raw | normalized | zscore) and the columns of `diagonal_entries` and `diagonal_targets`.
    """
    diagonals, own = [], table[table["image_unit_id"] == table["matched_unit_id"]]
    for response, rows in own.groupby("response", sort=False):
        entries = diagonal_entries(pool_confusions([rows]), pair_of(kind))
        targets = diagonal_targets([rows], pair_of(kind))
        diagonals.append(entries.merge(targets, on="unit_id", how="left").assign(response=response))
    return pd.concat(diagonals, ignore_index=True)


def diagonal_targets(tables: list[pd.DataFrame], pair: tuple[str, str] = PUBLISHED_PAIR) -> pd.DataFrame:
    """Which target unit each source unit was matched to, and its trials, scan by scan.

    Args:
        tables: one table of `scan_confusion` per scan.
        pair: model_type of the MEIs and of the controls.

    Returns:
        unit_id, target_unit_id, mei_scan_n, control_scan_n: one value a scan in the order of the tables, joined by ';',
        empty where the unit was not matched (or its image not shown) in that scan; 0 trials where it has no value.
    """
    columns = []
    for table in tables:
        own = table[table["image_unit_id"] == table["matched_unit_id"]].set_index("image_unit_id")
        own = own.assign(n_repeats=own["n_repeats"].where(own["mu_resp"].notna(), 0))
        n = own.pivot(columns="model_type", values="n_repeats").reindex(columns=list(pair))
        n = n.rename(columns=dict(zip(pair, ("mei_scan_n", "control_scan_n"), strict=True)))
        columns.append(n.assign(target_unit_id=own["target_unit_id"].groupby(level=0).first()).astype("Int64"))
    units = sorted(set().union(*(column.index for column in columns)))
    joined = pd.DataFrame({"unit_id": np.array(units, dtype=int)})
    for name in ("target_unit_id", "mei_scan_n", "control_scan_n"):
        values = [column[name].reindex(units).astype("string").fillna("") for column in columns]
        joined[name] = [";".join(row) for row in zip(*values, strict=True)]
    return joined


def _descending_rank(values: pd.Series) -> pd.Series:
    # Rows are in the order of unit_id, so the first of equals is the lowest id.
    return values.rank(method="first", ascending=False, na_option="bottom").astype(int) - 1
