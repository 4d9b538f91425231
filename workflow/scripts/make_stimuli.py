"""One stimulus set, MEIs against a control: matched in cd/m2, as PNG files with manifest and quality table."""

from pathlib import Path

import pandas as pd
from devices import compute_device
from door import door, origin
from ensembles import best_ensembles, report_failures

from neurostatic.config import Stimuli
from neurostatic.data.calibration import MonitorCalibration
from neurostatic.models.ensembles import paired_responses
from neurostatic.problems import InputError
from neurostatic.stimuli.files import write_set
from neurostatic.stimuli.sets import mei_vs_gabor_set, mei_vs_natural_set, mei_vs_rf_set
from neurostatic.store import read_arrays, read_table

device = compute_device(snakemake.threads, gpu=False)
with door(snakemake, device):
    kind = snakemake.wildcards.kind
    meis = read_arrays(snakemake.input.meis)
    controls = {name: read_arrays(path) for name, path in snakemake.input.items() if name in snakemake.params.controls}
    whole = meis.failed.values == ""
    for name, control in controls.items():
        if name == "natural":
            control = controls["natural"] = control.sel(kind="tight")
            if "shown_px" not in control or control.shown_px.isnull().any():  # of no scan, or not of all
                raise InputError(
                    f"{snakemake.input.natural}: there are no natural images in the size that is shown; mei_vs_natural "
                    "needs raw exports with images.npy, or natural.images: a folder of pictures"
                )
        if any(control[label].values.tolist() != meis[label].values.tolist() for label in ("scan", "unit_id")):
            raise InputError(f"{snakemake.input[name]}: its units are not those of {snakemake.input.meis}")
        report_failures(control, f"stimulus ({name})")
        whole &= control.failed.values == ""
    meis = meis.isel(unit=whole)
    controls = {name: control.isel(unit=whole) for name, control in controls.items()}
    selection = read_table(snakemake.input.units, ("scan", "unit_id", "hu_rank"))
    units = pd.DataFrame({"scan": meis.scan.values.astype(object), "unit_id": meis.unit_id.values})
    units = units.merge(selection, on=["scan", "unit_id"], how="left")
    ensembles, _ = best_ensembles(snakemake, "cnn", device)
    respond = paired_responses(ensembles, units.scan.tolist(), units.unit_id.tolist())
    calibration = MonitorCalibration.from_table(
        read_table(snakemake.input.calibration), snakemake.params.interpolation, snakemake.input.calibration
    )
    shared = calibration, Stimuli(**snakemake.params.stimuli), respond
    if kind == "mei_vs_rf":
        stimuli = mei_vs_rf_set(units, meis.mei, controls["linear"].mei, *shared)
    elif kind == "mei_vs_gabor":
        stimuli = mei_vs_gabor_set(units, meis.mei, controls["gabors"].gabor, *shared)
    else:
        natural, masks = controls["natural"], controls["masks"]
        stimuli = mei_vs_natural_set(units, meis.mei, natural.shown_px, masks.tight_mask, *shared)
    write_set(stimuli, Path(snakemake.output.manifest).parent, origin(snakemake, device=device))
    print(f"{len(stimuli.manifest)} images of {len(units)} units; mean and contrast of each within 5 % (qc.csv)")
