"""Train one network with one seed, and score its units."""

import json
from pathlib import Path

import pandas as pd
import torch
from devices import compute_device
from door import door, origin

from neurostatic.config import DataConfig, Training
from neurostatic.config.networks import Network
from neurostatic.data.datasets import data_hash, open_multi_dataset
from neurostatic.fitting.checkpoints import Checkpoint
from neurostatic.fitting.scores import score_tiers
from neurostatic.fitting.tensors import TierTensors
from neurostatic.fitting.training import HISTORY, train_network
from neurostatic.models.files import save_bad, save_network
from neurostatic.problems import NoModelError
from neurostatic.store import write_table

device = compute_device(snakemake.threads)
with door(snakemake, device):
    seed = int(snakemake.wildcards.seed)
    data_config = DataConfig(**snakemake.params.data_config)
    made = origin(snakemake, seed, device)
    if data_config.reliable_p == 1 and "+" not in data_config.brain_area + data_config.layer:
        made["data_hash"] = data_hash(data_config)  # the published database knows such a configuration
    # What decides the weights to the last bit: a checkpoint of anything else, or of another processor, is not resumed.
    processor = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    training = [made[name] for name in ("config_sha256", "inputs", "versions", "device", "seed")]
    checkpoint = Checkpoint(
        Path(snakemake.output.model).with_suffix(".checkpoint"),
        json.dumps([*training, processor, snakemake.params.code, snakemake.threads]),
        snakemake.resources.checkpoint_epochs,
    )
    try:
        members = open_multi_dataset(dict(zip(snakemake.params.scans, snakemake.input, strict=True)), data_config)
        scans = {
            name: {tier: TierTensors.of(member, tier, torch.device(device)) for tier in ("train", "validation", "test")}
            for name, member in members.items()
        }
        network, history = train_network(
            Network(**snakemake.params.network),
            Training(**snakemake.params.training),
            scans,
            seed,
            torch.device(device),
            checkpoint=checkpoint,
        )
        scores = score_tiers(network, scans, {name: member.unit_id for name, member in members.items()})
        print(scores.groupby("tier").pearson.mean().round(4).to_string())
    except NoModelError as error:
        print(f"no model: {error}\n(the other models go on without it)")
        scores, history = pd.DataFrame(columns=["scan", "unit_id", "tier", "pearson"]), []
        save_bad(str(error), snakemake.output.model, made)
    else:
        save_network(
            network,
            snakemake.output.model,
            {name: member.unit_id.tolist() for name, member in members.items()},
            {name: member.normalization.to_dict() for name, member in members.items()},
            made,
        )
    write_table(scores, snakemake.output.scores, made)
    write_table(pd.DataFrame(history, columns=HISTORY), snakemake.output.history, made)
    checkpoint.remove()
