"""Most exciting images of a share of the selected, or all, units: of the CNN (MEI) or of the linear model (RF)."""

import dataclasses

from devices import compute_device
from door import door, origin
from ensembles import best_ensembles, chosen_units, free_bytes, report_failures

from neurostatic.config import Meis
from neurostatic.stimuli.meis import make_meis
from neurostatic.stimuli.scale import Scale
from neurostatic.stimuli.shares import join_shares, share
from neurostatic.store import write_arrays

device = compute_device(snakemake.threads)
with door(snakemake, device):
    model_type = snakemake.wildcards.model_type
    config = Meis(**snakemake.params.meis)
    if model_type == "linear":
        config = dataclasses.replace(config, each_seed=False)
    ensembles, seeds = best_ensembles(snakemake, model_type, device)
    units = chosen_units(snakemake.input.units, config.units, list(ensembles))
    units = share(units, int(snakemake.wildcards.share), snakemake.params.n_shares)
    made = []
    for scan, of_scan in units.groupby("scan", sort=False):
        ids = of_scan.unit_id.tolist()
        print(f"{scan}: {len(ids)} units, {len(seeds)} seeds, {config.optimizer} optimizer")
        ensemble = ensembles[scan]
        meis = make_meis(
            ensemble.answer,
            ensemble.index_of(ids).cpu().numpy(),
            scan,
            ids,
            Scale(ensemble.image_mean_px, ensemble.image_std_px),
            snakemake.params.size_px,
            config,
            seeds,
            device,
            free_bytes(device, snakemake.resources.mem_mb),
        )
        made.append(meis.assign_coords(scan=("unit", [scan] * len(ids)), unit_id=("unit", ids)))
    meis = join_shares(made)
    report_failures(meis, "MEI")
    write_arrays(meis, snakemake.output[0], origin(snakemake, config.seed, device))
