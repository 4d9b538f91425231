"""Fit every monitor calibration of a scan, and choose the one nearest to it in time."""

import yaml
from door import door, origin

from neurostatic.data.calibration import closest_calibration, fit_calibrations
from neurostatic.store import read_table, write_table

with door(snakemake):
    with open(snakemake.input.scan) as file:
        timestamp = yaml.safe_load(file)["timestamp"]
    table = read_table(snakemake.input.calibrations, ("timestamp", "pixel_value", "luminance_cd_m2"))
    nearest, gap_hours, rows = closest_calibration(table, timestamp)
    made = origin(snakemake)
    write_table(
        fit_calibrations(table).assign(chosen=lambda fits: fits.timestamp == nearest), snakemake.output.fit, made
    )
    write_table(rows, snakemake.output.table, made)
    print(f"calibration of {nearest}, {gap_hours:.1f} h from the scan")
