"""Oracle and ceilings of every unit of a data set: how much of its responses an image can explain at all."""

from door import door, origin

from neurostatic.config import DataConfig
from neurostatic.data.datasets import RELIABILITY_SEED, measure_reliability, open_multi_dataset
from neurostatic.store import write_table

with door(snakemake):
    paths = dict(zip(snakemake.params.scans, snakemake.input, strict=True))
    units = measure_reliability(open_multi_dataset(paths, DataConfig(**snakemake.params.data_config)))
    write_table(units, snakemake.output[0], origin(snakemake, RELIABILITY_SEED))
    print(units[["oracle", "oracle_spearman", "jackknife", "cc_max", "explainable"]].median().round(3).to_string())
