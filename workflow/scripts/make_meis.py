"""Most exciting images of all selected units: of the CNN (MEI) or of the linear model (RF)."""

import xarray as xr
from door import compute_device, door, origin
from ensembles import best_network

from neurostatic.config import Meis
from neurostatic.models.ensembles import Ensemble
from neurostatic.stimuli.meis import make_meis, start_images
from neurostatic.store import read_table, write_arrays

device = compute_device(snakemake.threads)
with door(snakemake, device):
    config = Meis(**snakemake.params.meis)
    members = best_network(snakemake.input.best, snakemake.input.models, snakemake.wildcards.model_type, device)
    units = read_table(snakemake.input.units, ("scan", "unit_id", "hu_rank")).dropna(subset="hu_rank")
    parts = []
    for scan, of_scan in units.groupby("scan", sort=False):
        of_scan = of_scan.sort_values("hu_rank")
        ids = of_scan.unit_id.tolist()
        print(f"{scan}: {len(ids)} units, {len(members)} seeds, {config.iterations} steps")
        ensemble = Ensemble(members, scan)
        start = start_images([scan] * len(ids), ids, *snakemake.params.size_px, config.seed)
        meis = make_meis(
            ensemble.respond, ensemble.index_of(ids), start, ensemble.image_mean_px, ensemble.image_std_px, config
        )
        parts.append(meis.assign_coords(scan=("unit", [scan] * len(ids)), unit_id=("unit", ids)))
    meis = xr.concat(parts, "unit")
    for unit in meis.unit_id[meis.failed != ""].values:
        print(f"unit {unit}: no MEI, {meis.failed.values[meis.unit_id == unit][0]}")
    write_arrays(meis, snakemake.output[0], origin(snakemake, config.seed, device))
