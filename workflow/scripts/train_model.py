"""Train one network with one seed, and score its units."""

import pandas as pd
import torch
from door import compute_device, door, origin

from neurostatic.config import DataConfig, Network, Training
from neurostatic.data.datasets import data_hash, open_multi_dataset
from neurostatic.fitting.evaluation import TierTensors, score_tiers
from neurostatic.fitting.training import train_network
from neurostatic.models.networks import save_network
from neurostatic.store import write_table

device = compute_device(snakemake.threads)
with door(snakemake, device):
    seed = int(snakemake.wildcards.seed)
    paths = dict(zip(snakemake.params.scans, snakemake.input, strict=True))
    data_config = DataConfig(**snakemake.params.data_config)
    members = open_multi_dataset(paths, data_config)
    scans = {
        name: {tier: TierTensors.of(member, tier, torch.device(device)) for tier in ("train", "validation", "test")}
        for name, member in members.items()
    }
    training = Training(**snakemake.params.training)
    network, history = train_network(Network(**snakemake.params.network), training, scans, seed, torch.device(device))
    made = origin(snakemake, seed, device)
    if data_config.reliable_p == 1 and "+" not in data_config.brain_area + data_config.layer:
        made["data_hash"] = data_hash(data_config)  # the published database knows such a configuration
    scores = score_tiers(network, scans, {name: member.unit_id for name, member in members.items()})
    write_table(scores, snakemake.output.scores, made)
    write_table(pd.DataFrame(history), snakemake.output.history, made)
    save_network(
        network,
        snakemake.output.model,
        {name: member.unit_id.tolist() for name, member in members.items()},
        {name: member.normalization.to_dict() for name, member in members.items()},
        made,
    )
    print(scores.groupby("tier").pearson.mean().round(4).to_string())
