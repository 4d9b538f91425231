"""The stimulus set MEI against RF: matched in cd/m2, as PNG files with manifest and quality table."""

from pathlib import Path

import pandas as pd
from door import compute_device, door, origin
from ensembles import best_network

from neurostatic.data.calibration import MonitorCalibration
from neurostatic.models.ensembles import paired_responses
from neurostatic.stimuli.sets import mei_vs_rf_set, write_set
from neurostatic.store import read_arrays, read_table

device = compute_device(snakemake.threads)
with door(snakemake, device):
    cnn, linear = read_arrays(snakemake.input.cnn), read_arrays(snakemake.input.linear)
    whole = (cnn.failed.values == "") & (linear.failed.values == "")
    cnn, linear = cnn.isel(unit=whole), linear.isel(unit=whole)
    selection = read_table(snakemake.input.units, ("scan", "unit_id", "hu_rank"))
    units = pd.DataFrame({"scan": cnn.scan.values.astype(object), "unit_id": cnn.unit_id.values})
    units = units.merge(selection, on=["scan", "unit_id"], how="left")
    members = best_network(snakemake.input.best, snakemake.input.models, "cnn", device)
    options = snakemake.params.stimuli
    stimuli = mei_vs_rf_set(
        units,
        cnn.mei,
        linear.mei,
        MonitorCalibration.from_table(read_table(snakemake.input.calibration)),
        respond=paired_responses(members, units.scan.tolist(), units.unit_id.tolist()),
        mean_cd_m2=options["mean_cd_m2"],
        contrast_cd_m2=options["contrast_cd_m2"],
        zoom=options["zoom"],
        shifts_px=options["shifts_px"],
        max_units=options["max_units"],
    )
    write_set(stimuli, Path(snakemake.output.manifest).parent, origin(snakemake, device=device))
    print(f"{len(stimuli.manifest)} images of {len(units)} units; worst mean and contrast in qc.csv within 5 %")
