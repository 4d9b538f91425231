"""Fit every monitor calibration of a scan, and choose the one of its rig that is nearest to it in time."""

import json
from pathlib import Path

from door import door, origin

from neurostatic.data.calibration import (
    MonitorCalibration,
    closest_calibration,
    fit_calibrations,
    read_calibrations,
)
from neurostatic.data.gamma import fit_residuals
from neurostatic.store import write_table

with door(snakemake):
    options = snakemake.params.calibration
    info = json.loads(Path(snakemake.input.scan).read_text())["info"]
    table = read_calibrations(snakemake.input.calibrations)
    nearest, gap_hours, rows = closest_calibration(table, info["timestamp"], info["rig"], options["max_gap_hours"])
    MonitorCalibration.from_table(rows, options["interpolation"])  # refused here, before anything waits for it
    fits = fit_calibrations(table, info["timestamp"], info["rig"], rows.index)
    made = origin(snakemake)
    write_table(fits, snakemake.output.fit, made)
    write_table(fit_residuals(rows, fits[fits.chosen].iloc[0]), snakemake.output.table, made)
    print(f"calibration of {nearest}, {gap_hours:.1f} h from the scan")
