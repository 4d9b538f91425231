"""Find the cells that own a stimulus again in each later scan of the loop."""

import json
from pathlib import Path

import pandas as pd
from door import door, origin

from neurostatic.closed_loop.matching import best_match, proximity_match
from neurostatic.store import InputError, open_arrays, read_table, write_table

with door(snakemake):
    columns = ("stack", "unit_id", "x_um", "y_um", "z_um")

    def coordinates(verdict: str) -> pd.DataFrame:
        source = Path(json.loads(Path(verdict).read_text())["source"])
        return read_table(source / "stack_coordinates.csv", columns)

    source = coordinates(snakemake.input.source_verdict)
    files = snakemake.input.target_verdicts, snakemake.input.targets, snakemake.input.manifests
    matches = []
    for scan, verdict, store, manifest in zip(snakemake.params.targets, *files, strict=True):
        shown = read_table(manifest, ("owner_scan", "owner_unit_id"))
        owners = shown.owner_unit_id[shown.owner_scan == snakemake.params.source].unique()
        target = coordinates(verdict)
        target = target[target.unit_id.isin(open_arrays(store).unit_id.values)]  # soma units of the data set
        match = best_match(proximity_match(source[source.unit_id.isin(owners)], target))
        match.insert(0, "scan", scan)
        near = match.mean_distance_um <= snakemake.params.matching["max_distance_um"]
        for lost in match[~near].itertuples():
            print(f"{scan}: unit {lost.src_unit_id} was lost, the nearest cell is {lost.mean_distance_um:.1f} um away")
        match = match[near]
        if match.empty:
            raise InputError(f"{scan}: no cell within matching.max_distance_um of a cell that owns a stimulus")
        matches.append(match)
        print(f"{scan}: {len(match)} cells, median distance {match.mean_distance_um.median():.1f} um")
    write_table(pd.concat(matches), snakemake.output[0], origin(snakemake))
