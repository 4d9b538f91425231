"""Do cells and their matches respond alike to natural images that both scans showed?"""

import pandas as pd
import xarray as xr
from door import door, origin

from neurostatic.closed_loop.agreement import match_agreement, match_oracle_correlation
from neurostatic.store import load_arrays, open_arrays, read_table, write_arrays, write_table


def responses_of(store: str, unit_ids) -> xr.DataArray:
    """(trial, unit) of some units, with the image of each trial."""
    data = open_arrays(store)[["responses", "image_class", "image_id", "unit_id"]]
    return load_arrays(data.isel(unit=data.unit_id.isin(unit_ids).values), store).responses


with door(snakemake):
    options, matches = snakemake.params.statistics, read_table(snakemake.input.matches)
    rows, correlations = [], {}
    for scan, store in zip(snakemake.params.scans, snakemake.input.oracle, strict=True):
        of_scan = matches[matches.scan == scan]
        if len(of_scan) < 2:
            print(f"{scan}: fewer than 2 cells were found again, left out")
            continue
        source = responses_of(snakemake.input.source, of_scan.src_unit_id.to_numpy())
        target = responses_of(store, of_scan.unit_id.to_numpy())
        correlations[scan] = match_oracle_correlation(source, target, of_scan)
        agreement = match_agreement(correlations[scan], options["n_permutations"], options["seed"])
        rows.append({"scan": scan, "n_images": correlations[scan].attrs["n_images"], **agreement})
    made = origin(snakemake, options["seed"])
    table = pd.DataFrame(rows, columns=["scan", "n_units", "n_images", "own", "other", "p_value", "own_best_fraction"])
    scans = pd.Index(correlations, name="target", dtype=str)
    packed = (
        xr.concat(list(correlations.values()), scans, join="outer")
        if correlations
        else xr.DataArray(name="correlation")
    )
    write_arrays(packed.to_dataset(name="correlation"), snakemake.output.correlation, made)
    write_table(table, snakemake.output.table, made)
    print(table.to_string(index=False))
