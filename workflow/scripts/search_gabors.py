"""The Gabor that drives each unit most, among the candidates of a grid or of all within limits."""

from devices import compute_device
from door import door, origin
from ensembles import best_ensembles, chosen_units, report_failures

from neurostatic.config import Gabors
from neurostatic.data.calibration import MonitorCalibration
from neurostatic.models.ensembles import all_responses, paired_responses
from neurostatic.stimuli.gabors import best_gabors, luminance_matched, optimal_gabors
from neurostatic.store import read_table, write_arrays

device = compute_device(snakemake.threads)
with door(snakemake, device):
    ensembles, _ = best_ensembles(snakemake, "cnn", device)
    chosen = chosen_units(snakemake.input.units, snakemake.params.units, list(ensembles))
    units = chosen.scan.tolist(), chosen.unit_id.tolist()
    calibration = MonitorCalibration.from_table(
        read_table(snakemake.input.calibration), snakemake.params.interpolation, snakemake.input.calibration
    )
    prepare = luminance_matched(calibration, *snakemake.params.target_cd_m2)
    config = Gabors(**snakemake.params.gabors)
    size_px = snakemake.params.size_px
    if config.search == "grid":
        gabors = best_gabors(all_responses(ensembles, *units), prepare, config, *size_px)
    else:
        gabors = optimal_gabors(paired_responses(ensembles, *units), prepare, len(chosen), *size_px)
    gabors = gabors.assign_coords(scan=("unit", units[0]), unit_id=("unit", units[1]))
    write_arrays(gabors, snakemake.output[0], origin(snakemake, device=device))
    report_failures(gabors, "Gabor")
    print(f"{int((gabors.failed == '').sum())} Gabors; median response {float(gabors.activation.median()):.2f}")
