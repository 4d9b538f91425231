"""Which trained networks answer as one: all seeds of the best network of a type, scan by scan."""

from pathlib import Path

import pandas as pd
import psutil
import torch
import xarray as xr

from neurostatic.fitting.states import mouse_states
from neurostatic.models.ensembles import Ensemble
from neurostatic.models.files import load_network
from neurostatic.problems import InputError, NoModelError
from neurostatic.store import read_table


def best_ensembles(job, model_type: str, device: str) -> tuple[dict[str, Ensemble], list[str]]:
    """Load every seed of the network that was found best among those of a type, "cnn" or "linear".

    Returns:
        scan -> its ensemble, in the states of the mouse job.params.states (eyes, behaviors); names of the seeds.
    """
    best = read_table(job.input.best, ("model_type", "network"))
    name = best.network[best.model_type == model_type].iloc[0]
    members = {}
    for path in map(Path, job.input.models):
        if path.parent.name == name:
            try:
                members[path.stem] = load_network(path, device)
            except NoModelError as error:
                print(f"left out: {error}")
    models = list(members.values())
    ensembles = {
        scan: Ensemble(models, scan, mouse_states(normalization, *job.params.states))
        for scan, normalization in models[0].normalization.items()
    }
    return ensembles, list(members)


def chosen_units(path: str, which: str, scans: list[str]) -> pd.DataFrame:
    """Units whose images are made, scan by scan in the order of their rank: the selected ones, or all of the data set.

    Raises InputError if there is none.
    """
    units = read_table(path, ("scan", "unit_id", "rank", "hu_rank"))
    if which == "selected":
        units = units.dropna(subset="hu_rank")
    if units.empty:
        raise InputError(f"{path}: no unit is selected; see selection in the config")
    ordered = units.sort_values(["hu_rank", "rank"])
    return pd.concat([ordered[ordered.scan == scan] for scan in scans], ignore_index=True)


def report_failures(store: xr.Dataset, what: str) -> None:
    """Say which units have no image, and why."""
    for scan, unit_id, reason in zip(
        store.scan.values, store.unit_id.values, store.failed.values.astype(str), strict=True
    ):
        if reason:
            print(f"{scan}, unit {unit_id}: no {what}, {reason}")


def free_bytes(device: str, mem_mb: int) -> float:
    """Memory that a job may still fill: of the GPU what is free, else what its rule asks for beyond what is taken."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    return mem_mb * 2**20 - psutil.Process().memory_info().rss
