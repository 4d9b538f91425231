"""Compare what the loops found with the truth of the virtual mouse."""

import numpy as np
import pandas as pd
from devices import compute_device
from door import door, origin

from neurostatic.config import STIMULUS_SETS
from neurostatic.simulation.recovery import drive_ratio, matches_correct, noiseless_correlations, true_responses
from neurostatic.stimuli.files import read_set
from neurostatic.store import read_arrays, read_table, write_table

compute_device(snakemake.threads, gpu=False)
with door(snakemake):
    sources = {}  # a unit stands once, whichever loops it is in
    for loop in snakemake.params.loops:
        sources.setdefault((loop["dataset"], loop["source"]), []).append(loop)
    recovered, ceilings, shown = [], [], []
    for (dataset, source), loops in sources.items():
        truth = read_arrays(f"results/simulation/{source}.truth.zarr.zip")
        data = read_arrays(f"results/datasets/{source}.zarr.zip")
        ceiling = noiseless_correlations(truth, data.responses.values, data.trial_idx.values, data.unit_id.values)
        ceilings.append(ceiling.assign(scan=source))
        selection = read_table(f"results/selection/{dataset}.csv")
        units = selection[(selection.scan == source) & selection.hu_rank.notna()][["scan", "unit_id", "oracle"]]
        for column, model_type in (("mei_drive_ratio", "cnn"), ("rf_drive_ratio", "linear")):
            meis = read_arrays(f"results/meis/{dataset}/{model_type}.zarr.zip")
            meis = meis.isel(unit=(meis.scan.values == source) & (meis.failed.values == ""))
            ratio = drive_ratio(truth, meis.unit_id.values, meis.mei.values)
            ratios = pd.DataFrame({"unit_id": meis.unit_id.values, column: ratio})
            units = units.merge(ratios, on="unit_id", how="left")
        for kind in sorted(set().union(*(loop["kinds"] for loop in loops))):
            manifest, images_px = read_set(f"results/stimuli/{dataset}/{kind}")
            own = ((manifest.owner_scan == source) & (manifest.x_shift == 0) & (manifest.y_shift == 0)).values
            true = true_responses(truth, manifest[own], images_px[own])
            true = true.pivot(index=["unit_id", "kind"], columns="image_class", values="evoked")
            true = true.reindex(columns=STIMULUS_SETS[kind]).set_axis(["true_mei", "true_control"], axis=1)
            shown.append(true.reset_index().assign(scan=source, stimulus_set=kind))
        found = [read_table(f"results/closed_loop/{loop['name']}/matches.csv") for loop in loops]
        matches = pd.concat(found, ignore_index=True).astype({"src_unit_id": int}).assign(match_correct=np.nan)
        for scan, of_scan in matches.groupby("scan"):
            target = read_arrays(f"results/simulation/{scan}.truth.zarr.zip")
            matches.loc[of_scan.index, "match_correct"] = matches_correct(truth, target, of_scan).astype(float)
        correct = matches.groupby("src_unit_id").match_correct.mean().rename_axis("unit_id").reset_index()
        units = units.merge(correct, on="unit_id", how="left")
        recovered.append(units.merge(ceiling[["unit_id", "kind"]], on="unit_id", how="left"))
    columns = ["scan", "unit_id", "kind", "oracle", "mei_drive_ratio", "rf_drive_ratio", "match_correct"]
    recovery = pd.concat(recovered)[columns]
    ceilings = pd.concat(ceilings).drop_duplicates(["scan", "unit_id"])
    made = origin(snakemake)
    write_table(recovery, snakemake.output.recovery, made)
    write_table(ceilings[["scan", *ceilings.columns.drop("scan")]], snakemake.output.ceiling, made)
    write_table(pd.concat(shown), snakemake.output.stimuli, made)
    print(recovery.groupby("kind")[["mei_drive_ratio", "rf_drive_ratio"]].median().round(3).to_string())
    print(f"all: {recovery.mei_drive_ratio.median():.3f}; matches correct: {recovery.match_correct.mean():.3f}")
