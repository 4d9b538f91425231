"""Which model and which units go on to the stimuli."""

import numpy as np
import pandas as pd

from neurostatic.config import Selection
from neurostatic.problems import InputError


def best_models(scores: pd.DataFrame, model_types: dict[str, str], rule: str = "best_model") -> pd.DataFrame:
    """ModelGroup: of each type of model the network and seed of the highest validation correlation (mean over units).

    Args:
        scores: network, seed, scan, unit_id, tier, pearson: unit scores of every model.
        model_types: network name -> "cnn" or "linear".
        rule: "best_model", the best single model; or "best_model_new", of the network with the best mean over its seeds
            the best seed. Ties go to the network and then the seed that comes first in order.

    Returns:
        One row a type: model_type, network, seed, validation_correlation, mean_over_seeds.

    Raises InputError if no model of a type has a finite validation correlation.
    """
    validation = scores[scores.tier == "validation"].groupby(["network", "seed"], as_index=False).pearson.mean()
    validation = validation.rename(columns={"pearson": "validation_correlation"}).dropna()
    validation["mean_over_seeds"] = validation.groupby("network").validation_correlation.transform("mean")
    validation.insert(0, "model_type", validation.network.map(model_types))
    by = {
        "best_model": ["validation_correlation", "network", "seed"],
        "best_model_new": ["mean_over_seeds", "network", "validation_correlation", "seed"],
    }[rule]
    ranked = validation.sort_values(by, ascending=[name in ("network", "seed") for name in by])
    best = ranked.drop_duplicates("model_type").sort_values("model_type").reset_index(drop=True)
    missing = set(model_types.values()) - set(best.model_type)
    if missing:
        kinds = " or ".join({"cnn": "CNN", "linear": "linear model"}[kind] for kind in sorted(missing))
        raise InputError(f"select_units: no {kinds} has a validation score; all their trainings failed")
    return best


def rank_by_oracle(units: pd.DataFrame) -> pd.DataFrame:
    """OracleRankedUnit: units of all scans by descending oracle; rank from 0, top_ptile = rank / N.

    Ties go to the scan and then the unit id that comes first; units without an oracle (NaN) come last.

    Args:
        units: scan, unit_id, oracle and any other columns.
    """
    ranked = units.sort_values(["oracle", "scan", "unit_id"], ascending=[False, True, True]).reset_index(drop=True)
    ranked["rank"] = np.arange(len(ranked))
    ranked["top_ptile"] = ranked["rank"] / len(ranked)
    return ranked


def select_units(units: pd.DataFrame, config: Selection) -> pd.DataFrame:
    """CorrectedHighUnitSelection: well-predicted units of a high oracle, away from the field's edge and each other.

    1. top_ptile < top_fraction; 2. more than `edge_um` inside the field, each axis by its own pixel density (units
    without a position in their field pass); 3. both cnn_corr / oracle and lin_corr / oracle above their percentile
    among the units left; 4. in order of the descending difference of the two, 5. none closer than `distance_um` to
    one chosen before. Units whose oracle is not positive are left out before step 3: the ratio would have no meaning.
    Ties in the difference go to the later row, as in the published selection.

    Args:
        units: scan, unit_id, oracle, top_ptile, cnn_corr, lin_corr, um_x, um_y, um_z, px_x, px_y, px_height,
            px_width, um_height, um_width.

    Returns:
        The units with cnn_fraction_oracle, lin_fraction_oracle, hu_rank (from 0; missing: not chosen) and left_out: at
        which step, 'oracle', 'edge', 'score', 'percentile' or 'distance'; '' of the chosen ones.

    Raises InputError if no unit is left, naming the step that took the last.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        cnn_fraction = (units.cnn_corr / units.oracle).to_numpy()
        linear_fraction = (units.lin_corr / units.oracle).to_numpy()
    left_out = np.full(len(units), "", dtype=object)

    def keep(passed: np.ndarray, step: str, words: str) -> None:
        left_out[(left_out == "") & ~passed] = step
        if (left_out != "").all():
            raise InputError(f"select_units: of {len(units)} units none is {words}; see `selection` in the config")

    top = ((units.top_ptile < config.top_fraction) & (units.oracle > 0)).to_numpy()
    keep(top, "oracle", f"among the top {config.top_fraction:.0%} by oracle, with an oracle above 0")
    keep(_inside_field(units, config.edge_um).to_numpy(), "edge", f"more than {config.edge_um:g} um inside their field")
    keep(np.isfinite(cnn_fraction) & np.isfinite(linear_fraction), "score", "with a test score of both models")
    well, left = np.ones(len(units), dtype=bool), left_out == ""
    for fraction in (cnn_fraction, linear_fraction):
        well &= fraction > np.percentile(fraction[left], config.percentile)
    keep(well, "percentile", f"above percentile {config.percentile:g} of both fractions of the oracle")

    candidates = np.flatnonzero(left_out == "")
    difference = cnn_fraction[candidates] - linear_fraction[candidates]
    candidates = candidates[np.argsort(difference, kind="stable")[::-1]]
    position_um = units[["um_x", "um_y", "um_z"]].to_numpy(float)
    scan = units.scan.to_numpy()
    kept: list[int] = []
    for candidate in candidates.tolist():
        neighbors = [unit for unit in kept if scan[unit] == scan[candidate]]
        distances_um = np.linalg.norm(position_um[neighbors] - position_um[candidate], axis=1)
        if not (distances_um < config.distance_um).any():
            kept.append(candidate)
    hu_rank = pd.array([pd.NA] * len(units), dtype="Int64")
    hu_rank[kept] = np.arange(len(kept))
    left_out[np.setdiff1d(candidates, kept)] = "distance"
    fractions = {"cnn_fraction_oracle": cnn_fraction, "lin_fraction_oracle": linear_fraction}
    return units.assign(**fractions, hu_rank=hu_rank, left_out=left_out)


def _inside_field(units: pd.DataFrame, edge_um: float) -> pd.Series:
    inside = pd.Series(True, index=units.index)
    for axis, extent in (("x", "width"), ("y", "height")):
        half_px = units[f"px_{extent}"] / 2
        edge_px = edge_um * units[f"px_{extent}"] / units[f"um_{extent}"]
        from_center_px = (units[f"px_{axis}"] - half_px).abs()
        inside &= (from_center_px < half_px - edge_px) | from_center_px.isna()
    return inside
