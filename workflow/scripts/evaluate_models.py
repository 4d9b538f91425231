"""Score every model, and the ensemble of each network's seeds, on the test images."""

from pathlib import Path

import torch
from devices import compute_device
from door import door, origin

from neurostatic.config import DataConfig
from neurostatic.data.datasets import open_multi_dataset
from neurostatic.fitting.evaluation import evaluate_models, summarize_scores
from neurostatic.fitting.tensors import TierTensors
from neurostatic.models.files import load_network
from neurostatic.problems import NoModelError
from neurostatic.store import read_table, write_arrays, write_table

device = compute_device(snakemake.threads)
with door(snakemake, device):
    params = snakemake.params
    paths = dict(zip(params.scans, snakemake.input.stores, strict=True))
    members = open_multi_dataset(paths, DataConfig(**params.data_config))
    tests = {name: TierTensors.of(member, "test", torch.device(device)) for name, member in members.items()}
    files = {(Path(path).parent.name, int(Path(path).stem)): path for path in snakemake.input.models}

    def load(network: str, seed: int):
        print(f"{network}, seed {seed}")
        try:
            return load_network(files[network, seed], device).network
        except NoModelError as error:
            print(f"left out: {error}")
            return None

    evaluation = evaluate_models(load, params.networks, params.seeds, tests)
    units = [(name, unit_id) for name, member in members.items() for unit_id in member.unit_id]
    reliability = read_table(snakemake.input.reliability, ("scan", "unit_id", "oracle"))
    oracle = reliability.set_index(["scan", "unit_id"]).oracle.reindex(units).to_numpy()
    evaluation = evaluation.assign_coords(unit_id=("unit", [unit_id for _, unit_id in units]), oracle=("unit", oracle))
    summary = summarize_scores(evaluation)
    made = origin(snakemake, device=device)
    write_arrays(evaluation, snakemake.output.units, made)
    write_table(summary, snakemake.output.summary, made)
    print(summary[summary.seed == "ensemble"].round(3).to_string(index=False))
