"""Responses of the matched cells of one scan to every unit's images: raw, normalized, z-scored."""

from pathlib import Path

import numpy as np
import pandas as pd
from door import door, origin

from neurostatic.closed_loop.confusion import scan_confusion
from neurostatic.stimuli.files import check_shown
from neurostatic.store import load_arrays, open_arrays, read_table, write_table

with door(snakemake):
    data = open_arrays(snakemake.input.store)
    manifest = read_table(snakemake.input.manifest)
    if snakemake.input.shown:
        images, table = np.load(snakemake.input.shown[0], mmap_mode="r"), read_table(snakemake.input.shown[1])
        n_same = check_shown(Path(snakemake.input.manifest).parent, table, images, snakemake.wildcards.scan)
        print(f"{n_same} of {len(manifest)} images of the stimulus set are in the scan to the pixel")
    manifest = manifest.set_index(["image_class", "image_id"])
    matches = read_table(snakemake.input.matches)
    matches = matches[matches.scan == snakemake.wildcards.scan]
    data = load_arrays(data.isel(unit=data.unit_id.isin(matches.unit_id.to_numpy()).values), snakemake.input.store)
    shown = pd.MultiIndex.from_arrays([data.image_class.values.astype(object), data.image_id.values])
    trials = manifest.reindex(shown)  # images that are not in the manifest have no owner
    ours = trials.owner_scan == snakemake.params.source
    tables = []
    for response in ("raw", "normalized", "zscore"):
        table = scan_confusion(
            data.responses.values,
            data.unit_id.values,
            data.image_class.values,
            trials.owner_unit_id.where(ours, -1).fillna(-1).astype(int).to_numpy(),
            ((trials.x_shift == 0) & (trials.y_shift == 0)).to_numpy(),
            matches[["src_unit_id", "unit_id"]],
            response,
        )
        tables.append(table.assign(response=response))
    write_table(pd.concat(tables), snakemake.output[0], origin(snakemake))
