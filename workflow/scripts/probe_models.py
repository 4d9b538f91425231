"""In-silico experiments: every unit's MEI shown to every unit, shifted, varied; the gradients of the units."""

import numpy as np
import xarray as xr
from devices import compute_device
from door import door, origin
from ensembles import best_ensembles

from neurostatic.config import Meis, Probes
from neurostatic.models.ensembles import all_responses, paired_responses
from neurostatic.stimuli.diversity import diverse_images
from neurostatic.stimuli.gradients import grad_rfs, gradient_spectra
from neurostatic.stimuli.insilico import insilico_confusion, shift_responses
from neurostatic.stimuli.meis import start_images
from neurostatic.stimuli.scale import Scale
from neurostatic.store import open_arrays, read_arrays, write_arrays

device = compute_device(snakemake.threads)
with door(snakemake, device):
    config, meis_config = Probes(**snakemake.params.probes), Meis(**snakemake.params.meis)
    cnn, linear, masks = (read_arrays(snakemake.input[name]) for name in ("cnn", "linear", "masks"))
    ensembles, _ = best_ensembles(snakemake, "cnn", device)
    units = cnn.scan.values.tolist(), cnn.unit_id.values.tolist()
    target = config.contrast_px, config.mean_px
    labels = xr.Dataset(coords={"scan": cnn.scan, "unit_id": cnn.unit_id})
    parts = [labels, xr.Dataset(coords={"model_type": ["cnn", "linear"]})]
    if "confusion" in config.parts:
        respond = all_responses(ensembles, *units)
        places = range(len(units[0]))  # of units in this file: ids may be those of several scans
        matrices = [insilico_confusion(store.mei.values, places, respond, *target) for store in (cnn, linear)]
        parts.append(xr.Dataset({"confusion": (("model_type", "image_unit", "matched_unit"), np.stack(matrices))}))
    if "shifts" in config.parts:
        shifts_px = range(-config.max_shift_px, config.max_shift_px + 1)
        respond = paired_responses(ensembles, *units)
        shifted = [shift_responses(store.mei.values, respond, shifts_px, *target) for store in (cnn, linear)]
        parts.append(xr.concat(shifted, "model_type").to_dataset(name="shift_response"))
    by_scan, stores = [], dict(zip(snakemake.params.scans, snakemake.input.stores, strict=True))
    for scan in dict.fromkeys(units[0]) if {"gradients", "diverse"} & set(config.parts) else ():
        of_scan, store = np.flatnonzero(cnn.scan.values == scan), stores[scan]
        ids, ensemble = cnn.unit_id.values[of_scan].tolist(), ensembles[scan]
        mei_px, questions = cnn.mei.values[of_scan], ensemble.index_of(ids)
        scale, scans = Scale(ensemble.image_mean_px, ensemble.image_std_px), [scan] * len(ids)
        found = xr.Dataset()
        if "gradients" in config.parts:
            print(f"{scan}: gradients of {len(ids)} units")
            start_px = start_images(scans, ids, *mei_px.shape[1:], meis_config.seed)[:, 0]
            linearized = grad_rfs(ensemble.respond, questions, start_px, scale, meis_config)
            images_px = open_arrays(store).images[: config.n_gradient_images].values
            spectra = gradient_spectra(ensemble.respond, questions, images_px, scale)
            names = {"rf": "grad_rf", "activation": "grad_rf_activation", "failed": "grad_rf_failed"}
            found = linearized[["point_rf", *names]].rename(names)
            found = found.merge(spectra[["eigenvalue", "share"]])
        if "diverse" in config.parts:
            print(f"{scan}: diverse images of {len(ids)} units")
            options = config.n_diverse, config.diverse_ratio
            tight = masks.tight_mask.values[of_scan]
            diverse = diverse_images(ensemble.respond, questions, mei_px, scale, scans, ids, tight, *options,
                                     seed=meis_config.seed)  # fmt: skip
            found = found.merge(diverse.rename(failed="diverse_failed"))
        by_scan.append(found)
    parts += [xr.concat(by_scan, "unit")] if by_scan else []
    probes = xr.merge(parts, combine_attrs="drop", join="exact", compat="equals")
    write_arrays(probes, snakemake.output[0], origin(snakemake, meis_config.seed, device))
    if "confusion" in probes:
        own = (probes.confusion[0].fillna(-np.inf).argmax("image_unit") == np.arange(len(units[0]))).values.mean()
        print(f"{own:.0%} of {len(units[0])} units respond most to their own MEI")
