"""Do cells and their matches respond alike to natural images that both scans showed?"""

import numpy as np
import pandas as pd
import xarray as xr
from door import door, origin

from neurostatic.closed_loop.agreement import match_agreement, match_oracle_correlation
from neurostatic.closed_loop.confusion import NOT_MATCHED, NothingToCompareError
from neurostatic.store import load_arrays, open_arrays, read_table, write_arrays, write_table


def responses_of(store: str, unit_ids) -> xr.DataArray:
    """(trial, unit) of some units, with the image of each trial."""
    data = open_arrays(store)[["responses", "image_class", "image_id", "unit_id"]]
    return load_arrays(data.isel(unit=data.unit_id.isin(unit_ids).values), store).responses


with door(snakemake):
    options, matches = snakemake.params.statistics, read_table(snakemake.input.matches)
    rows, packed = [], {}
    for scan, store in zip(snakemake.params.scans, snakemake.input.oracle, strict=True):
        of_scan = matches[matches.scan == scan]
        source = responses_of(snakemake.input.source, of_scan.src_unit_id.to_numpy())
        target = responses_of(store, of_scan.unit_id.to_numpy())
        try:
            found = match_oracle_correlation(source, target, of_scan)
        except NothingToCompareError as reason:
            print(f"{scan}: left out, {reason}")
            rows.append({"scan": scan, "n_units": 0, "n_images": 0})
            continue
        agreement = match_agreement(found, options["n_permutations"], options["seed"])
        rows.append({"scan": scan, "n_images": found.attrs["n_images"], **agreement})
        targets = of_scan.set_index("src_unit_id").unit_id.loc[found.matched_unit_id.values].to_numpy()
        packed[scan] = xr.Dataset({"correlation": found, "target_unit_id": ("matched_unit_id", targets)})
    made = origin(snakemake, options["seed"])
    table = pd.DataFrame(rows, columns=["scan", "n_units", "n_images", "own", "other", "p_value", "own_best_fraction"])
    scans = xr.Variable("target", np.array(list(packed), dtype=object))
    nothing = {"correlation": np.nan, "target_unit_id": NOT_MATCHED}
    arrays = xr.concat(list(packed.values()), scans, join="outer", fill_value=nothing) if packed else xr.Dataset()
    write_arrays(arrays, snakemake.output.correlation, made)
    write_table(table, snakemake.output.table, made)
    print(table.to_string(index=False))
