"""Tables of closed loops as their rules write them, of any size, without computing one: what a page is made from."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from neurostatic.config import STIMULUS_SETS

MODEL_TYPES = {
    "mei_vs_rf": ("cnn", "linear"),
    "mei_vs_gabor": ("cnn", "gabor"),
    "mei_vs_natural": ("masked_mei", "masked_natural"),
}
RESPONSES = ("normalized", "zscore")
N_REPEATS = 20
TARGET_OFFSET = 100  # unit ids of the later scans
LOST = "no cell within 8 um: the nearest is {:.1f} um away"
CONSTANT = "responds alike in every trial: it cannot be normalized"


def matching_tables(
    units: np.ndarray, scans: list[str], lost: dict[str, list[int]], rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """matches.csv and unmatched.csv; lost: scan -> units that are not found in it."""
    place_um = rng.uniform((50, 50, 120), (700, 650, 320), (len(units), 3))
    found, missing = [], []
    for scan in scans:
        shift_um = rng.normal(0, (2.0, 2.0, 3.0))
        moved_um = shift_um + rng.normal(0, 1.0, place_um.shape)
        distance_um = np.linalg.norm(moved_um, axis=1)
        table = pd.DataFrame({"scan": scan, "src_unit_id": units, "unit_id": units + TARGET_OFFSET})
        table = table.assign(
            match_freq=rng.integers(2, 4, len(units)),
            total_stacks=3,
            mean_distance_um=distance_um,
            shared=1,
            displacement_um=distance_um,
            runner_up_um=distance_um + rng.gamma(3.0, 4.0, len(units)),
            posterior=rng.beta(9, 0.7, len(units)),
        )
        table[["src_x_um", "src_y_um", "src_z_um"]] = place_um
        table[["x_um", "y_um", "z_um"]] = place_um + moved_um
        is_lost = np.isin(units, lost.get(scan, []))
        found.append(table[~is_lost])
        reasons = [LOST.format(9 + unit / 10) for unit in units[is_lost]]
        missing.append(table[is_lost].assign(reason=reasons, mean_distance_um=14.0))
    names = [
        "scan",
        "src_unit_id",
        "unit_id",
        "mean_distance_um",
        "posterior",
        "reason",
        "src_x_um",
        "src_y_um",
        "src_z_um",
    ]
    return pd.concat(found), pd.concat(missing)[names]


def left_out_table(unmatched: pd.DataFrame, skipped: dict[str, str], constant: dict[str, int]) -> pd.DataFrame:
    """left_out.csv; skipped: scan -> reason; constant: scan -> source unit whose match never changes."""
    lost = unmatched.rename(columns={"src_unit_id": "unit_id", "unit_id": "target_unit_id"})
    rows = [lost[["scan", "unit_id", "target_unit_id", "reason"]]]
    rows += [pd.DataFrame({"scan": [scan], "reason": [reason]}) for scan, reason in skipped.items()]
    rows += [
        pd.DataFrame({"scan": [scan], "unit_id": [unit], "target_unit_id": [unit + TARGET_OFFSET], "reason": CONSTANT})
        for scan, unit in constant.items()
    ]
    columns = ["scan", "unit_id", "target_unit_id", "reason"]
    return pd.concat(rows, ignore_index=True).reindex(columns=columns)


def confusion_and_diagonal(
    units: np.ndarray, kinds: list[str], gain: float, loop: str, rng: np.random.Generator
) -> tuple[xr.Dataset, pd.DataFrame]:
    """confusion.zarr.zip and diagonal.csv: own images drive cells more than others', MEIs `gain` times the controls."""
    model_types = sorted({model_type for kind in kinds for model_type in MODEL_TYPES[kind]})
    shape = (len(kinds), len(RESPONSES), len(model_types), len(units), len(units))
    mu, n = np.full(shape, np.nan), np.zeros(shape, dtype=int)
    sem, diagonals = np.full(shape, np.nan), []
    for i, kind in enumerate(kinds):
        strength = rng.gamma(4.0, 0.25, len(units))
        for j, response in enumerate(RESPONSES):
            for image, model_type in enumerate(MODEL_TYPES[kind]):
                own = strength * (gain if image == 0 else 1.0) * rng.gamma(8.0, 1 / 8, len(units)) + 0.3
                matrix = rng.gamma(2.0, 0.25, shape[-2:]) + np.diag(own)
                place = (i, j, model_types.index(model_type))
                mu[place] = matrix - (matrix.mean() if response == "zscore" else 0.0)
                sem[place], n[place] = rng.uniform(0.12, 0.3, shape[-2:]), N_REPEATS
            diagonals.append(_diagonal(units, [(mu[i, j], sem[i, j])[k] for k in (0, 1)],
                                       [model_types.index(name) for name in MODEL_TYPES[kind]])
                             .assign(loop=loop, kind=kind, response=response))  # fmt: skip
    dims = ("kind", "response", "model_type", "image_unit_id", "matched_unit_id")
    confusion = xr.Dataset(
        {"mu": (dims, mu), "sem": (dims, sem), "n": (dims, n)},
        {"kind": list(kinds), "response": list(RESPONSES), "model_type": model_types,
         "image_unit_id": units, "matched_unit_id": units},
    )  # fmt: skip
    return confusion, pd.concat(diagonals, ignore_index=True)


def _diagonal(units: np.ndarray, arrays: list[np.ndarray], pair: list[int]) -> pd.DataFrame:
    mu, sem = (np.stack([array[k].diagonal() for k in pair]) for array in arrays)
    spread = sem * np.sqrt(N_REPEATS)
    test = stats.ttest_ind_from_stats(mu[0], spread[0], N_REPEATS, mu[1], spread[1], N_REPEATS, equal_var=False)
    table = pd.DataFrame({"unit_id": units, "mei_n": N_REPEATS, "control_n": N_REPEATS})
    table[["mei_resp", "control_resp"]], table[["mei_sem", "control_sem"]] = mu.T, sem.T
    diff_sem = np.hypot(*sem)
    half = stats.t.ppf(0.975, 2 * N_REPEATS - 2) * diff_sem
    table = table.assign(diff_resp=mu[0] - mu[1], diff_sem=diff_sem, t_diff=test.statistic, p_value=test.pvalue)
    return table.assign(
        q_value=stats.false_discovery_control(test.pvalue),
        diff_low=table.diff_resp - half,
        diff_high=table.diff_resp + half,
        diff_rank=table.diff_resp.rank(ascending=False, method="first") - 1,
    )


def loop_tests_table(confusion: xr.Dataset, diagonal: pd.DataFrame, loop: str) -> pd.DataFrame:
    """tests.csv; p values of the permutation tests are made up, a different one for each row."""
    rows = []
    for i, kind in enumerate(confusion.kind.values):
        for j, response in enumerate(RESPONSES):
            matrix = confusion.mu.sel(kind=kind, response=response, model_type=MODEL_TYPES[kind][0]).values
            cells = diagonal[(diagonal.kind == kind) & (diagonal.response == response)]
            off = ~np.eye(len(matrix), dtype=bool)
            p = 0.001 + i / 100 + j / 10
            trace, n_best = matrix.trace(), int((matrix.argmax(0) == np.arange(len(matrix))).sum())
            dominance = trace / len(matrix) - (matrix[off].mean() if off.any() else np.nan)
            of_matrix = [
                ("diagonal_permutation", trace, p, "dominance", dominance, 0.2),
                (
                    "own_best_permutation",
                    n_best,
                    0.0012 + i / 100 + j / 10,
                    "own_best_fraction",
                    n_best / len(matrix),
                    0.1,
                ),
            ]
            rows += [(kind, response, *row, len(matrix)) for row in of_matrix]
            rows += [(kind, response, *row, len(cells)) for row in _pair_rows(cells, response)]
    columns = ["kind", "response", "test", "statistic", "p_value", "effect", "estimate", "half", "n"]
    table = pd.DataFrame(rows, columns=columns)
    table = table.assign(loop=loop, low=table.estimate - table.half, high=table.estimate + table.half)
    return table.drop(columns="half").assign(n_animals=1)


def _pair_rows(cells: pd.DataFrame, response: str) -> list[tuple]:
    mei, control, difference = cells.mei_resp, cells.control_resp, cells.diff_resp
    error = 2 * difference.sem() if len(cells) > 1 else np.nan
    statistic, p = stats.wilcoxon(difference) if len(cells) > 1 else (np.nan, np.nan)
    above, significant = int((difference > 0).sum()), cells.p_value < 0.05
    ranks = difference.abs().rank()
    rank_biserial = (np.sign(difference) * ranks).sum() / ranks.sum()
    rows = [
        ("mei_vs_control_wilcoxon", statistic, p, "rank_biserial", rank_biserial, np.nan),
        ("mei_greater_fraction", above, np.nan, "fraction", above / len(cells), 0.1),
        ("mean_difference", np.nan, np.nan, "mean_difference", difference.mean(), error),
        ("mei_mean", np.nan, np.nan, "mean", mei.mean(), 2 * mei.sem()),
        ("control_mean", np.nan, np.nan, "mean", control.mean(), 2 * control.sem()),
    ]
    if response != "zscore":
        rows.append(("ratio_of_means", 1.3, 0.21, "ratio", mei.mean() / control.mean(), 0.15))
    for name, sign in (("welch_mei_greater_p05", 1), ("welch_control_greater_p05", -1)):
        number = int((significant & (sign * difference > 0)).sum())
        rows.append((name, number, np.nan, "fraction", number / len(cells), np.nan))
    return rows


def population_table(diagonals: list[pd.DataFrame], confusions: list[xr.Dataset]) -> pd.DataFrame:
    """population.csv: of each stimulus set the cells of all loops, each loop an animal."""
    tables = []
    for kind in STIMULUS_SETS:
        shown = [(d, c) for d, c in zip(diagonals, confusions, strict=True) if kind in c.kind.values]
        if shown:
            pooled = pd.concat([diagonal[diagonal.kind == kind] for diagonal, _ in shown])
            largest = max(
                (confusion.sel(kind=[kind]) for _, confusion in shown), key=lambda c: c.sizes["image_unit_id"]
            )
            table = loop_tests_table(largest, pooled, "")
            tables.append(table.drop(columns="loop").assign(n=len(pooled) // len(RESPONSES), n_animals=len(shown)))
    return pd.concat(tables, ignore_index=True)


def oracle_table(scans: list[str], n_units: int) -> pd.DataFrame:
    """oracle.csv."""
    return pd.DataFrame(
        {"scan": scans, "n_units": n_units, "n_images": 50, "own": 0.4321, "other": 0.0123, "p_value": 0.0007,
         "own_best_fraction": 0.8}
    )  # fmt: skip
