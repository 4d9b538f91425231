"""How well all models of a data set predict its test images, one by one and the seeds of a network together."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import xarray as xr

from neurostatic.fitting.scores import SCORES, predict, score_repeats
from neurostatic.fitting.tensors import TierTensors
from neurostatic.models.networks import CorePlusReadout
from neurostatic.statistics import slope_through_origin

ALL_SCANS = "all scans"  # of the rows for all units together, if there are several scans
STATES = {"per trial": "trial", "frozen": "mean"}  # eye and behavior of each trial | at their training means, for all


def evaluate_models(
    load: Callable[[str, int], CorePlusReadout | None],
    networks: list[str],
    seeds: list[int],
    scans: dict[str, TierTensors],
) -> xr.Dataset:
    """Test scores of every unit by every model, and by the ensemble of each network's seeds.

    An ensemble's prediction is the mean over seeds of the final outputs (MultiModelEvaluation.UnitScore). Frozen
    (FrozenMultiModelEvaluation): eye and behavior at their training means, which is fair to the oracle, as that knows
    neither.

    Args:
        load: network name, seed -> trained network; None for a model that there is not (NoModelError).
        scans: scan -> its test tier.

    Returns:
        pearson, cc_abs, cc_norm, feve (network, seed, state, unit), NaN for a missing model and for a scan without test
        trials; ensemble_pearson ... (network, state, unit), and n_seeds (network), those an ensemble has. Coordinates:
        network, seed, state, scan (unit).
    """
    n_units = {scan: tier.responses.shape[1] for scan, tier in scans.items()}
    tested = [(scan, units) for scan, units in _unit_slices(n_units) if len(scans[scan].responses)]
    sizes = {"network": len(networks), "seed": len(seeds), "state": len(STATES), "unit": sum(n_units.values())}
    single = {name: np.full(tuple(sizes.values()), np.nan) for name in SCORES}
    together = {name: np.full((len(networks), len(STATES), sizes["unit"]), np.nan) for name in SCORES}
    n_seeds = np.zeros(len(networks), dtype=int)
    for i, network_name in enumerate(networks):
        totals: dict[tuple[int, str], torch.Tensor] = {}
        for j, seed in enumerate(seeds):
            network = load(network_name, seed)
            if network is None:
                continue
            n_seeds[i] += 1
            for k, given in enumerate(STATES.values()):
                for scan, units in tested:
                    predicted = predict(network, scan, scans[scan], given, given)
                    totals[k, scan] = predicted + totals[k, scan] if (k, scan) in totals else predicted
                    for name, values in score_repeats(predicted, scans[scan]).items():
                        single[name][i, j, k, units] = values
        for k in range(len(STATES)):
            for scan, units in tested:
                if (k, scan) in totals:
                    for name, values in score_repeats(totals[k, scan] / n_seeds[i], scans[scan]).items():
                        together[name][i, k, units] = values
    variables = {name: (tuple(sizes), values) for name, values in single.items()}
    variables |= {f"ensemble_{name}": (("network", "state", "unit"), values) for name, values in together.items()}
    variables["n_seeds"] = (("network",), n_seeds)
    coordinates = {"network": networks, "seed": seeds, "state": list(STATES)}
    coordinates["scan"] = ("unit", np.repeat(list(n_units), list(n_units.values())))
    return xr.Dataset(variables, coordinates)


def summarize_scores(evaluation: xr.Dataset) -> pd.DataFrame:
    """Model.TestScores, MultiModelEvaluation: means over the units of a scan, and of all, by model and ensemble.

    Args:
        evaluation: as `evaluate_models` gives it, with oracle (unit).

    Returns:
        network, seed ('ensemble' for the seeds together), state, scan, n_units, then each score's mean over the units
        that have one, and fraction_oracle: the slope through the origin of correlation against oracle.
    """
    rows = []
    scans = list(dict.fromkeys(evaluation.scan.values.tolist()))
    for scan in [*scans, ALL_SCANS] if len(scans) > 1 else scans:
        of_scan = evaluation.isel(unit=np.flatnonzero((evaluation.scan.values == scan) | (scan == ALL_SCANS)))
        for network in evaluation.network.values:
            for seed in [*evaluation.seed.values, "ensemble"]:
                for state in evaluation.state.values:
                    prefix = "ensemble_" if seed == "ensemble" else ""
                    where = {"network": network, "state": state} | ({} if prefix else {"seed": seed})
                    scores = {name: of_scan[prefix + name].sel(where).values for name in SCORES}
                    row = {"network": network, "seed": seed, "state": state, "scan": scan}
                    row["n_units"] = int(np.isfinite(scores["pearson"]).sum())
                    row |= {name: _mean(values) for name, values in scores.items()}
                    rows.append(
                        row | {"fraction_oracle": slope_through_origin(of_scan.oracle.values, scores["pearson"])}
                    )
    return pd.DataFrame(rows)


def _unit_slices(n_units: dict[str, int]) -> list[tuple[str, slice]]:
    ends = np.cumsum(list(n_units.values()))
    return [(scan, slice(end - n, end)) for (scan, n), end in zip(n_units.items(), ends.tolist(), strict=True)]


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan
