"""Responses of the matched cells of one scan to every unit's images: raw, normalized, z-scored."""

from pathlib import Path

import numpy as np
import pandas as pd
from door import door, origin

from neurostatic.closed_loop.confusion import SCAN_COLUMNS, NothingToCompareError, cells_without_scale, set_confusion
from neurostatic.closed_loop.diagonal import DIAGONAL_COLUMNS, pair_of, scan_diagonal
from neurostatic.data.scans.shown import read_image_table
from neurostatic.stimuli.files import check_shown
from neurostatic.store import load_arrays, open_arrays, read_table, write_table

with door(snakemake):
    scan = snakemake.wildcards.scan
    matches = read_table(snakemake.input.matches)
    matches = matches.loc[matches.scan == scan, ["src_unit_id", "unit_id"]]
    data = open_arrays(snakemake.input.store)
    data = load_arrays(data.isel(unit=data.unit_id.isin(matches.unit_id.to_numpy()).values), snakemake.input.store)
    images = pd.MultiIndex.from_arrays([data.image_class.values.astype(object), data.image_id.values])
    responses = data.responses.values, data.unit_id.values
    unscaled = cells_without_scale(*responses, matches)
    left_out = [unscaled.rename(columns={"unit_id": "target_unit_id", "src_unit_id": "unit_id"})]
    tables = [pd.DataFrame(columns=["kind", "response", *SCAN_COLUMNS])]
    diagonals = [pd.DataFrame(columns=["kind", "response", *DIAGONAL_COLUMNS])]
    for kind, path in zip(snakemake.params.kinds, snakemake.input.manifests, strict=True):
        manifest = read_table(path)
        if snakemake.input.shown:
            export = Path(snakemake.input.shown[0]).parent
            shown_px, shown = np.load(export / "images.npy", mmap_mode="r"), read_image_table(export)
            n_same = check_shown(Path(path).parent, shown, shown_px, scan)
            print(f"{n_same} of {len(manifest)} images of {kind} are in the scan to the pixel")
        pair = pair_of(kind)
        try:
            table = set_confusion(*responses, images, manifest, snakemake.params.source, matches, pair)
        except NothingToCompareError as reason:
            print(f"{scan}, {kind}: left out, {reason}")
            left_out.append(pd.DataFrame({"reason": [f"left out of {kind}: {reason}"]}))
            continue
        if pair[1] not in set(table.model_type):
            left_out.append(pd.DataFrame({"reason": [f"{kind}: no trial shows a control image of a matched cell"]}))
        tables.append(table.assign(kind=kind))
        diagonals.append(scan_diagonal(table, kind).assign(kind=kind))
    made = origin(snakemake)
    left_out = pd.concat(left_out).astype({"unit_id": "Int64", "target_unit_id": "Int64"}).assign(scan=scan)
    write_table(pd.concat(tables), snakemake.output.confusion, made)
    write_table(pd.concat(diagonals), snakemake.output.diagonal, made)
    write_table(left_out[["scan", "unit_id", "target_unit_id", "reason"]], snakemake.output.left_out, made)
