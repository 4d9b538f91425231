"""Turn a checked scan into a data set: images, responses, behavior, tiers."""

from door import door, origin

from neurostatic.config import Preprocessing
from neurostatic.data.datasets import build_dataset
from neurostatic.data.importers import is_sensorium, read_sensorium
from neurostatic.data.scans import read_scan
from neurostatic.store import write_arrays

with door(snakemake):
    source, options = snakemake.params.source, Preprocessing(**snakemake.params.preprocessing)
    dataset = read_sensorium(source, options) if is_sensorium(source) else build_dataset(read_scan(source), options)
    dead = f"{int(dataset.dead.sum())} of them dead"
    print(f"{dataset.sizes['trial']} trials, {dataset.sizes['unit']} units ({dead}), {dataset.sizes['image']} images")
    write_arrays(dataset, snakemake.output[0], origin(snakemake, options.tier_seed))
