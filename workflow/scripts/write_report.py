"""One offline page with every figure."""

from pathlib import Path

from door import door, origin

from neurostatic.report.page import write_page
from neurostatic.report.reading import read_results

with door(snakemake):
    results = read_results(
        Path(snakemake.output[0]).parent,
        scans=[Path(verdict).stem for verdict in snakemake.input.verdicts],
        datasets=snakemake.params.datasets,
        loops=snakemake.params.loops,
        networks=snakemake.params.networks,
        seeds=snakemake.params.seeds,
        stimulated=snakemake.params.stimulated,
        kinds=snakemake.params.kinds,
        probed=bool(snakemake.input.probes),
        with_truth=bool(snakemake.input.truth),
        provenance=origin(snakemake),
    )
    write_page(results, snakemake.output[0])
    print(f"{snakemake.output[0]}: {Path(snakemake.output[0]).stat().st_size / 1e6:.1f} MB")
