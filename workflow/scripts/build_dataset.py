"""Turn a checked scan into a data set: images, responses, behavior, tiers."""

from door import door, origin

from neurostatic.data.datasets import build_dataset
from neurostatic.data.importers import is_sensorium, read_sensorium
from neurostatic.data.scans import read_scan
from neurostatic.store import write_arrays

with door(snakemake):
    source = snakemake.params.source
    options = snakemake.params.preprocessing
    if is_sensorium(source):
        dataset = read_sensorium(source, options["height_px"], options["width_px"])
    else:
        dataset = build_dataset(
            read_scan(source),
            offset_s=options["offset_s"],
            duration_s=options["duration_s"],
            height=options["height_px"],
            width=options["width_px"],
            tier_seed=options["tier_seed"],
            validation_fraction=options["validation_fraction"],
        )
    write_arrays(dataset, snakemake.output[0], origin(snakemake, options["tier_seed"]))
    print(f"{dataset.sizes['trial']} trials, {dataset.sizes['unit']} units, {dataset.sizes['image']} images")
